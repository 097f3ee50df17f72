import type { CompiledQuery, Kysely } from 'kysely';
import type { Database } from '../../../database/database.js';
import type { Logger } from '../../../logging/logger.js';
import { firstPage, type PageOf, pageAfter } from '../schema/pages.js';
import { type BoardTables, type RowTable, rowTables, shapes } from '../schema/tables.js';
import type { Writer } from '../writing/writer.js';
import { writeKeyLabel } from './database-key.js';
import { type KeyRing, Undecodable } from './key-ring.js';

export interface RotationOptions {
  database: Database<BoardTables>;
  keys: KeyRing;
  writer: Writer;
  logger: Logger;
  /** Ends it after the page that it is at; the next start begins anew. */
  signal: AbortSignal;
  /** A row cannot be read: it stays as it is. */
  onUnreadable(table: RowTable, id: string, error: Undecodable): void;
}

type Row = Record<string, unknown>;

/** Writers wait no longer than for so many rows. */
const pageSize = 50;
const rowsPerReport = 5000;

/**
 * Encrypts all rows with the active key, while the board is serving, and writes its label down at the end
 * (docs/protocol/bbs.md §15, Key rotation). Each page is read and written between two transactions of the board.
 */
export async function rotateKeys(options: RotationOptions): Promise<void> {
  const { database, keys, logger, signal } = options;
  logger.info('encrypting all rows with the active key', { label: keys.activeLabel });
  let rows = 0;
  for (const table of rowTables) {
    if (shapes[table].encrypted.length === 0) continue;
    for await (const count of rotateTable(options, table)) {
      if (signal.aborted) return;
      if (Math.floor((rows + count) / rowsPerReport) > Math.floor(rows / rowsPerReport)) {
        logger.info('encrypting rows with the active key', { table, rows: rows + count });
      }
      rows += count;
    }
  }
  await options.writer.exclusively(() => writeKeyLabel(database, keys));
  logger.info('all rows are encrypted with the active key', { label: keys.activeLabel, rows });
}

/** Gives the number of rows of each page, when it is done. */
async function* rotateTable(options: RotationOptions, table: RowTable): AsyncGenerator<number> {
  const { database, writer } = options;
  let last: PageOf<RowTable> | undefined;
  for (;;) {
    const page = await writer.exclusively(async () => {
      const rows = last ? await pageAfter(database, table, last, pageSize) : await firstPage(database, table, pageSize);
      const updates = rows.flatMap((row) => updateOf(options, table, row as unknown as Row));
      if (updates.length > 0) await writer.transact(updates);
      return rows;
    });
    if (page.length === 0) return;
    last = page.at(-1)!;
    yield page.length;
  }
}

function updateOf({ database, keys, onUnreadable }: RotationOptions, table: RowTable, row: Row): CompiledQuery[] {
  const { key, encrypted }: { key: readonly string[]; encrypted: readonly string[] } = shapes[table];
  try {
    const old = encrypted.filter((column) => isOld(row[column], keys));
    if (old.length === 0) return [];
    const anew = Object.fromEntries(old.map((column) => [column, keys.seal(keys.open(String(row[column])))]));
    const anyTables = database.kysely as unknown as Kysely<Record<string, Row>>;
    const update = anyTables.updateTable(table).set(anew);
    return [key.reduce((narrowed, column) => narrowed.where(column, '=', row[column]), update).compile()];
  } catch (error) {
    if (!(error instanceof Undecodable)) throw error;
    onUnreadable(table, key.map((column) => row[column]).join('/'), error);
    return [];
  }
}

function isOld(value: unknown, keys: KeyRing): boolean {
  return typeof value === 'string' && value !== '' && keys.labelOf(value) !== keys.activeLabel;
}
