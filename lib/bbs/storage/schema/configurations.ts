import type { CompiledQuery } from 'kysely';
import type { Database } from '../../../database/database.js';
import type { BoardTables } from './tables.js';

/** Rows of the table `configurations` (docs/protocol/bbs.md §15); `board_reign` is of this board only. */
export type ConfigurationId = 'version' | 'encryption_key_label' | 'board_reign';

export async function readConfiguration(
  { kysely }: Database<BoardTables>,
  id: ConfigurationId,
): Promise<string | undefined> {
  const row = await kysely.selectFrom('configurations').select('value').where('id', '=', id).executeTakeFirst();
  return row?.value ?? undefined;
}

export async function writeConfiguration(
  database: Database<BoardTables>,
  id: ConfigurationId,
  value: string,
  guard?: CompiledQuery,
): Promise<void> {
  const insert = database.kysely.insertInto('configurations').values({ id, value });
  const query =
    database.flavour === 'mysql'
      ? insert.onDuplicateKeyUpdate({ value })
      : insert.onConflict((conflict) => conflict.column('id').doUpdateSet({ value }));
  await database.transact([query.compile()], guard && { guard });
}
