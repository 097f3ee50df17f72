import { setImmediate as immediate } from 'node:timers/promises';
import type { CompiledQuery } from 'kysely';
import type { Database } from '../../../database/database.js';
import { CommitUnknown, GuardFailed, QueryRefused } from '../../../database/errors.js';
import { isMissingTable } from '../schema/missing-table.js';
import { type BoardTables, type RowTable, rowTables } from '../schema/tables.js';
import { KeyTaken, NotWritten, OutcomeUnknown, ReignLost, TableMissing } from '../store.js';
import type { RowWrite } from './row-write.js';
import { isKeyTaken, Statements } from './statements.js';

/** One call, whose rows are written together or not at all. */
interface Call {
  readonly kind: 'call';
  readonly rows: readonly RowWrite[];
  resolve(): void;
  reject(error: Error): void;
}

/** Work during which nobody writes. */
interface Turn {
  readonly kind: 'turn';
  run(): Promise<void>;
}

export interface WriterOptions {
  database: Database<BoardTables>;
  /** Finds a row for as long as the database is this board's. */
  guard: CompiledQuery;
  /** A call is in the database. */
  onWritten(rows: readonly RowWrite[]): void;
}

/** A transaction holds no more calls when they have so many rows. */
const rowsPerBatch = 1000;
/** A batch of which nobody knows is written again so often. */
const blindAttempts = 3;

/**
 * The only one who writes. Calls that come during a transaction go into the next one together: while the disk is busy
 * with one, the next becomes larger, so that many callers wait for few commits.
 */
export class Writer {
  readonly #options: WriterOptions;
  readonly #statements: Statements;
  readonly #queue: (Call | Turn)[] = [];
  #working: Promise<void> | undefined;
  #end: Error | undefined;

  constructor(options: WriterOptions) {
    this.#options = options;
    this.#statements = new Statements(options.database);
  }

  /** @throws NotWritten, OutcomeUnknown, TableMissing, ReignLost */
  write(rows: readonly RowWrite[]): Promise<void> {
    if (this.#end) return Promise.reject(this.#end);
    return new Promise((resolve, reject) => this.#enqueue({ kind: 'call', rows, resolve, reject }));
  }

  /** Does something between two transactions. */
  exclusively<T>(work: () => Promise<T>): Promise<T> {
    if (this.#end) return Promise.reject(this.#end);
    return new Promise((resolve, reject) => {
      this.#enqueue({ kind: 'turn', run: () => work().then(resolve, reject) });
    });
  }

  /** Queries of another kind, within a turn. @throws ReignLost, and errors of the database */
  async transact(queries: readonly CompiledQuery[]): Promise<void> {
    try {
      await this.#options.database.transact(queries, { guard: this.#options.guard });
    } catch (error) {
      throw error instanceof GuardFailed ? this.#lose(error) : error;
    }
  }

  /** Resolves when all that was asked for is done; what comes later is refused. Idempotent. */
  async stop(): Promise<void> {
    this.#end ??= new NotWritten('the store has been stopped');
    await this.#working;
  }

  #enqueue(job: Call | Turn): void {
    this.#queue.push(job);
    this.#working ??= this.#work();
  }

  async #work(): Promise<void> {
    for (;;) {
      // Calls of one moment, and those of whom the last transaction has set free, are for one transaction.
      await immediate();
      const job = this.#queue[0];
      if (!job) break;
      if (job.kind === 'call') await this.#writeCalls(this.#takeCalls());
      else {
        this.#queue.shift();
        await job.run();
      }
    }
    this.#working = undefined;
  }

  #takeCalls(): Call[] {
    const calls: Call[] = [];
    let rows = 0;
    while (this.#queue[0]?.kind === 'call' && (rows === 0 || rows + this.#queue[0].rows.length <= rowsPerBatch)) {
      rows += this.#queue[0].rows.length;
      calls.push(this.#queue.shift() as Call);
    }
    return calls;
  }

  async #writeCalls(calls: readonly Call[]): Promise<void> {
    try {
      await this.#commit(this.#queriesFor(calls));
    } catch (error) {
      if (error instanceof QueryRefused && calls.length > 1) {
        // One of them has what the database does not take; the others need not suffer.
        for (const call of calls) await this.#writeCalls([call]);
        return;
      }
      const reason = this.#reasonOf(error);
      for (const { reject } of calls) reject(reason);
      return;
    }
    for (const { rows, resolve } of calls) {
      this.#options.onWritten(rows);
      resolve();
    }
  }

  /** Every row once, as the last call leaves it; deletions first, since a new key may be an old one in other case. */
  #queriesFor(calls: readonly Call[]): CompiledQuery[] {
    const last = new Map<string, RowWrite>();
    for (const { rows } of calls) for (const row of rows) last.set(`${row.table} ${row.id}`, row);
    const writes = [...last.values()];
    const of = (table: RowTable) => writes.filter((write) => write.table === table);
    const gone = rowTables.flatMap((table) => {
      const keys = of(table).flatMap(({ key, values }) => (values ? [] : [key]));
      return this.#statements.deletes(table, keys);
    });
    const there = rowTables.flatMap((table) => {
      const rows = of(table).flatMap(({ values }) => (values ? [values] : []));
      return this.#statements.puts(table, rows);
    });
    return [...gone, ...there];
  }

  /** What is written says what rows are from now on, so it may be written twice. */
  async #commit(queries: readonly CompiledQuery[]): Promise<void> {
    if (this.#end instanceof ReignLost) throw this.#end;
    const { database, guard } = this.#options;
    let unknown: CommitUnknown | undefined;
    for (let attempt = 1; ; attempt += 1) {
      try {
        await database.transact(queries, { guard });
        return;
      } catch (error) {
        if (error instanceof CommitUnknown && attempt < blindAttempts) unknown = error;
        else throw unknown && !(error instanceof GuardFailed) ? unknown : error;
      }
    }
  }

  #reasonOf(error: unknown): Error {
    if (error instanceof ReignLost) return error;
    if (error instanceof GuardFailed) return this.#lose(error);
    const message = error instanceof Error ? error.message : String(error);
    const options = { cause: error };
    if (error instanceof CommitUnknown) return new OutcomeUnknown(message, options);
    if (error instanceof QueryRefused && isMissingTable(error)) return new TableMissing(message, options);
    if (error instanceof QueryRefused && isKeyTaken(error)) return new KeyTaken(message, options);
    return new NotWritten(message, options);
  }

  /** From now on nothing is written. */
  #lose(cause: GuardFailed): ReignLost {
    const lost = new ReignLost('another board has taken the database', { cause });
    this.#end = lost;
    return lost;
  }
}
