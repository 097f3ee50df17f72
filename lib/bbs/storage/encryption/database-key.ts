import type { Database } from '../../../database/database.js';
import { readConfiguration, writeConfiguration } from '../schema/configurations.js';
import { UnusableDatabase } from '../schema/migrations.js';
import { firstPage } from '../schema/pages.js';
import { type BoardTables, rowTables, shapes } from '../schema/tables.js';
import { type KeyRing, Undecodable } from './key-ring.js';

/** So many rows of each table are looked at. */
const sampleSize = 20;

/**
 * Whether the rows are to be encrypted anew, since the active key is not the one that they are encrypted with
 * (docs/protocol/bbs.md §15, Key rotation). A new database gets the active key's label.
 *
 * @throws UnusableDatabase when the database's key is not among those of the configuration, or is another one than they
 * have under its label
 */
export async function isRotationDue(database: Database<BoardTables>, keys: KeyRing): Promise<boolean> {
  const { label, hasRows } = await checkKeys(database, keys);
  if (label !== undefined) return label !== keys.activeLabel;
  if (hasRows) return true;
  await writeKeyLabel(database, keys);
  return false;
}

/** Looks at the label and at some rows, and changes nothing. @throws UnusableDatabase as `isRotationDue` */
export async function checkKeys(
  database: Database<BoardTables>,
  keys: KeyRing,
): Promise<{ label: string | undefined; hasRows: boolean }> {
  const label = await checkKeyLabel(database, keys);
  const sample = await encryptedSample(database);
  checkSample(sample, keys);
  return { label, hasRows: sample.length > 0 };
}

/** @returns the label in the database, if there is one @throws UnusableDatabase when no key has it */
export async function checkKeyLabel(database: Database<BoardTables>, keys: KeyRing): Promise<string | undefined> {
  const label = await readConfiguration(database, 'encryption_key_label');
  if (label !== undefined && !keys.knows(label)) {
    throw new UnusableDatabase(`Existing encryption key version (${label}) is not among the known keys`);
  }
  return label;
}

/** All rows are encrypted with the active key. */
export function writeKeyLabel(database: Database<BoardTables>, keys: KeyRing): Promise<void> {
  return writeConfiguration(database, 'encryption_key_label', keys.activeLabel);
}

async function encryptedSample(database: Database<BoardTables>): Promise<string[]> {
  const samples = await Promise.all(
    rowTables.map(async (table) => {
      const [column] = shapes[table].encrypted as readonly string[];
      if (column === undefined) return [];
      const rows = (await firstPage(database, table, sampleSize)) as unknown as Record<string, string | null>[];
      return rows.map((row) => row[column] ?? '');
    }),
  );
  return samples.flat().filter((value) => value !== '');
}

/** A row may be spoiled; that all of them are means that the passphrase is another one. */
function checkSample(sample: readonly string[], keys: KeyRing): void {
  const problems = sample.flatMap((value) => {
    try {
      keys.open(value);
      return [];
    } catch (error) {
      if (!(error instanceof Undecodable)) throw error;
      return [error.message];
    }
  });
  if (sample.length === 0 || problems.length < sample.length) return;
  throw new UnusableDatabase(`encryption_keys: no row of the database can be read: ${problems[0]}`);
}
