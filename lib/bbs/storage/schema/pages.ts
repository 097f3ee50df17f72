import { type Expression, expressionBuilder, type Kysely, type Selectable, type SqlBool, sql } from 'kysely';
import type { Database } from '../../../database/database.js';
import { type BoardTables, type RowTable, shapes } from './tables.js';

export type PageOf<Table extends RowTable> = Selectable<BoardTables[Table]>;

type AnyTables = Record<string, Record<string, unknown>>;

/** The first rows of a table in the order of their key. */
export function firstPage<Table extends RowTable>(
  database: Database<BoardTables>,
  table: Table,
  size: number,
): Promise<PageOf<Table>[]> {
  return ordered(database, table, size).execute() as Promise<PageOf<Table>[]>;
}

/** The rows behind `last`. */
export function pageAfter<Table extends RowTable>(
  database: Database<BoardTables>,
  table: Table,
  last: PageOf<Table>,
  size: number,
): Promise<PageOf<Table>[]> {
  const { key }: { key: readonly string[] } = shapes[table];
  const values = last as Record<string, unknown>;
  const query = ordered(database, table, size);
  const behind =
    database.flavour === 'mysql' ? query.where(isBehind(key, values)) : query.where(isGreater(key, values));
  return behind.execute() as Promise<PageOf<Table>[]>;
}

/** All of the key at once: PostgreSQL and SQLite find that in the index. */
function isGreater(key: readonly string[], values: Record<string, unknown>): Expression<SqlBool> {
  const columns = sql.join(key.map((column) => sql.ref(column)));
  return sql<SqlBool>`(${columns}) > (${sql.join(key.map((column) => values[column]))})`;
}

/** Column by column, as MySQL wants it. The first condition says nothing new, but leads into the index. */
function isBehind(key: readonly string[], values: Record<string, unknown>): Expression<SqlBool> {
  const { and, eb, or } = expressionBuilder<AnyTables, string>();
  const first = key[0]!;
  const steps = key.map((column, index) =>
    and([...key.slice(0, index).map((equal) => eb(equal, '=', values[equal])), eb(column, '>', values[column])]),
  );
  return and([eb(first, '>=', values[first]), or(steps)]);
}

function ordered({ kysely }: Database<BoardTables>, table: RowTable, size: number) {
  const { columns, key }: { columns: readonly string[]; key: readonly string[] } = shapes[table];
  const anyTables = kysely as unknown as Kysely<AnyTables>;
  const query = anyTables
    .selectFrom(table)
    .select([...columns])
    .limit(size);
  return key.reduce((sorted, column) => sorted.orderBy(column), query);
}
