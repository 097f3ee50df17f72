import type { CompiledQuery } from 'kysely';
import type { Database } from '../../database/database.js';
import { GuardFailed, QueryRefused } from '../../database/errors.js';
import { readConfiguration } from './schema/configurations.js';
import type { BoardTables } from './schema/tables.js';

/** Of several boards that take the database at one moment, each needs at most so many attempts. */
const attempts = 10;

/**
 * Makes the database this board's: the number in the row `board_reign` goes up by one, and with it whoever wrote before
 * finds its own number no more.
 *
 * @returns an update that finds a row for as long as no other board has done the same
 */
export async function beginReign(database: Database<BoardTables>): Promise<CompiledQuery> {
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await tryToBegin(database);
    } catch (error) {
      const isOvertaken = error instanceof GuardFailed || error instanceof QueryRefused;
      if (!isOvertaken || attempt >= attempts) throw error;
    }
  }
}

async function tryToBegin(database: Database<BoardTables>): Promise<CompiledQuery> {
  const { kysely } = database;
  const stored = await readConfiguration(database, 'board_reign');
  if (stored === undefined) {
    await database.transact([kysely.insertInto('configurations').values({ id: 'board_reign', value: '1' }).compile()]);
    return reignGuard(database, '1');
  }
  const previous = Number(stored);
  if (!Number.isSafeInteger(previous)) throw new Error('configurations: the row "board_reign" does not hold a number');
  const next = String(previous + 1);
  const update = kysely
    .updateTable('configurations')
    .set({ value: next })
    .where('id', '=', 'board_reign')
    .where('value', '=', stored);
  await database.transact([], { guard: update.compile() });
  return reignGuard(database, next);
}

/** It changes nothing, but holds the row until the end of its transaction: others must wait to take over. */
function reignGuard({ kysely }: Database<BoardTables>, reign: string): CompiledQuery {
  return kysely
    .updateTable('configurations')
    .set({ value: reign })
    .where('id', '=', 'board_reign')
    .where('value', '=', reign)
    .compile();
}
