import { type CompiledQuery, type Kysely, sql } from 'kysely';
import type { Database, Flavour } from '../../../database/database.js';
import type { QueryRefused } from '../../../database/errors.js';
import { type BoardTables, type RowTable, shapes } from '../schema/tables.js';

/** A row that is to be in the database. */
export type Values = Readonly<Record<string, unknown>>;

/** Statements are compiled for so many rows, and put together to what is needed. */
const sizes = [64, 32, 16, 8, 4, 2, 1];
/** One statement holds no more, but for a single row that is larger. */
const charactersPerStatement = 256 * 1024;

type AnyTables = Record<string, Record<string, unknown>>;

/** Statements that say what rows are from now on, whatever was there before. Each is compiled once. */
export class Statements {
  readonly #kysely: Kysely<AnyTables>;
  readonly #flavour: Flavour;
  readonly #compiled = new Map<string, CompiledQuery>();

  constructor(database: Database<BoardTables>) {
    this.#kysely = database.kysely as unknown as Kysely<AnyTables>;
    this.#flavour = database.flavour;
  }

  /** @param rows of different keys */
  puts(table: RowTable, rows: readonly Values[]): CompiledQuery[] {
    const { columns } = shapes[table];
    const lists = rows.map((row) => columns.map((column) => row[column]));
    return this.#inPieces(`put ${table}`, lists, (count) => this.#compilePut(table, count));
  }

  /** @param keys values of the key's columns */
  deletes(table: RowTable, keys: readonly (readonly unknown[])[]): CompiledQuery[] {
    return this.#inPieces(`delete ${table}`, keys, (count) => this.#compileDelete(table, count));
  }

  #inPieces(
    name: string,
    lists: readonly (readonly unknown[])[],
    compile: (count: number) => CompiledQuery,
  ): CompiledQuery[] {
    const queries: CompiledQuery[] = [];
    for (let at = 0; at < lists.length; ) {
      const count = pieceSize(lists, at);
      const key = `${name} ${count}`;
      let template = this.#compiled.get(key);
      if (!template) {
        template = compile(count);
        this.#compiled.set(key, template);
      }
      queries.push({ ...template, parameters: lists.slice(at, at + count).flat() });
      at += count;
    }
    return queries;
  }

  #compilePut(table: RowTable, count: number): CompiledQuery {
    const { columns, key }: { columns: readonly string[]; key: readonly string[] } = shapes[table];
    const row = Object.fromEntries(columns.map((column) => [column, 0]));
    const insert = this.#kysely.insertInto(table).values(Array.from({ length: count }, () => row));
    const others = columns.filter((column) => !key.includes(column));
    if (this.#flavour !== 'mysql') {
      const taken = others.map((column) => [column, sql.ref(`excluded.${column}`)]);
      return insert
        .onConflict((conflict) => conflict.columns([...key]).doUpdateSet(Object.fromEntries(taken)))
        .compile();
    }
    const taken = others.map((column) => [column, sql`values(${sql.ref(column)})`]);
    return insert.onDuplicateKeyUpdate(Object.fromEntries([...this.#exactKey(table), ...taken])).compile();
  }

  /**
   * MySQL compares without case, in most collations, so that a row would be put in the place of another one. NULL in its
   * key is refused instead (docs/protocol/bbs.md §6).
   */
  #exactKey(table: RowTable): [string, unknown][] {
    return shapes[table].textKey.map((column) => {
      const [old, given] = [sql.ref(column), sql`values(${sql.ref(column)})`];
      return [column, sql`if(cast(${old} as binary) = cast(${given} as binary), ${old}, null)`];
    });
  }

  #compileDelete(table: RowTable, count: number): CompiledQuery {
    const { key }: { key: readonly string[] } = shapes[table];
    const remove = this.#kysely.deleteFrom(table);
    const [only] = key;
    if (key.length === 1)
      return remove
        .where(
          only!,
          'in',
          Array.from({ length: count }, () => 0),
        )
        .compile();
    return remove
      .where(({ and, eb, or }) => or(Array.from({ length: count }, () => and(key.map((column) => eb(column, '=', 0))))))
      .compile();
  }
}

/** Whether a put was refused because its key is in the table in other letters. */
export function isKeyTaken({ code }: QueryRefused): boolean {
  return code === 'ER_BAD_NULL_ERROR';
}

function pieceSize(lists: readonly (readonly unknown[])[], at: number): number {
  const left = lists.length - at;
  let characters = 0;
  let fitting = 0;
  while (fitting < Math.min(left, sizes[0]!)) {
    characters += charactersOf(lists[at + fitting]!);
    if (characters > charactersPerStatement && fitting > 0) break;
    fitting += 1;
  }
  return sizes.find((size) => size <= fitting)!;
}

function charactersOf(values: readonly unknown[]): number {
  let sum = 0;
  for (const value of values) sum += typeof value === 'string' ? value.length : 8;
  return sum;
}
