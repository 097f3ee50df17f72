import { CompiledQuery } from 'kysely';
import type { Database } from '../../database/database.js';
import { QueryRefused } from '../../database/errors.js';
import { writeHealthRow } from '../../database/health-check.js';
import { isMissingTable } from './schema/missing-table.js';
import type { BoardTables } from './schema/tables.js';

/**
 * Writes and reads a row of `bbs_health_check` (docs/protocol/bbs.md §16). Before the first board has made the tables, an
 * answer is enough.
 *
 * @throws when the database does not do it
 */
export async function checkHealth(database: Database<BoardTables>, time: bigint): Promise<void> {
  try {
    await writeHealthRow(database, 'bbs_health_check', time);
  } catch (error) {
    if (!(error instanceof QueryRefused) || !isMissingTable(error)) throw error;
    await database.kysely.executeQuery(CompiledQuery.raw('SELECT 1'));
  }
}
