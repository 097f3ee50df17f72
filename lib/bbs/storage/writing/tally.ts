import { sql } from 'kysely';
import type { Database } from '../../../database/database.js';
import { type BoardTables, type RowTable, rowTables } from '../schema/tables.js';
import { type Measures, modulus, noMeasures, states } from './measures.js';
import type { RowWrite } from './row-write.js';

/** What the tables must add up to when nobody but this board writes. */
export class Tally {
  #sums: Record<RowTable, Measures> = { ...noMeasures };
  /** Of rows whose changes do not say what they were before: domains, and rows that cannot be read. */
  readonly #alone = new Map<string, Measures>();

  reset(): void {
    this.#sums = { ...noMeasures };
    this.#alone.clear();
  }

  /** A row that was found. @param aloneId of one whose changes will not say what it was */
  found(table: RowTable, measures: Measures, aloneId?: string): void {
    this.#add(table, measures, 1);
    if (aloneId !== undefined) this.#alone.set(`${table} ${aloneId}`, measures);
  }

  /** A row that was written. */
  written({ table, id, before, after }: RowWrite): void {
    const name = `${table} ${id}`;
    const was = before ?? this.#alone.get(name);
    if (was) this.#add(table, was, -1);
    this.#alone.delete(name);
    if (!after) return;
    this.#add(table, after, 1);
    if (table === 'domains') this.#alone.set(name, after);
  }

  /** The tables whose rows add up to something else. */
  async differences(database: Database<BoardTables>): Promise<RowTable[]> {
    const found = await Promise.all(rowTables.map((table) => sumsOf(database, table)));
    return rowTables.filter((table, at) => found[at]!.some((sum, index) => sum !== this.#sums[table][index]));
  }

  #add(table: RowTable, measures: Measures, sign: 1 | -1): void {
    this.#sums[table] = this.#sums[table].map((sum, index) => sum + sign * measures[index]!);
  }
}

async function sumsOf({ kysely }: Database<BoardTables>, table: RowTable): Promise<Measures> {
  const columns = [sql`count(*)`, ...summands[table].map((summand) => sql`sum(${summand})`)];
  const list = sql.join(columns.map((column, index) => sql`${column} as ${sql.id(`sum${index}`)}`));
  const { rows } = await sql<Record<string, unknown>>`select ${list} from ${sql.table(table)}`.execute(kysely);
  return columns.map((_, index) => Number(rows[0]![`sum${index}`] ?? 0));
}

const rest = sql.lit(modulus);
const stateNumber = sql`case state ${sql.join(
  states.map((state, index) => sql`when ${sql.lit(state)} then ${sql.lit(index + 1)}`),
  sql` `,
)} else 0 end`;
const summands = {
  domains: [sql`expire_time % ${rest}`],
  desired_lrps: [sql`modification_tag_index`, sql`instances`],
  actual_lrps: [sql`modification_tag_index`, sql`since % ${rest}`, sql`presence`, stateNumber],
  tasks: [sql`state`, sql`updated_at % ${rest}`, sql`rejection_count`],
};
