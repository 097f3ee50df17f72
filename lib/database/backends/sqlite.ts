import { createRequire } from 'node:module';
import { Worker } from 'node:worker_threads';
import { type CompiledQuery, type QueryResult, SqliteAdapter, SqliteQueryCompiler } from 'kysely';
import type { DatabaseObserver } from '../database-observer.js';
import { CommitUnknown, DatabaseContention, DatabaseUnreachable, GuardFailed, QueryRefused } from '../errors.js';
import type { Backend } from './backend.js';
import { sqliteThreadSource } from './sqlite-thread.js';

interface ThreadError {
  message: string;
  code: string;
  isCommitting: boolean;
}

type Answer = { id: number } & ({ result: unknown } | { error: ThreadError });

interface RunResult {
  affected: number;
  columns: string[];
  rows: unknown[][];
}

type TransactResult = { isGuardFailed: true } | { affected: number[] };

interface Waiting {
  resolve(result: unknown): void;
  reject(error: Error): void;
}

export interface SqliteOptions {
  /** Made when it is missing. */
  path: string;
  /** How long it waits for another process that is writing. @default 5000 */
  busyTimeoutMs?: number;
  observer?: DatabaseObserver | undefined;
}

/** A SQLite file, worked on in a thread of its own (`sqlite-thread.ts`). Queries run in the order in which they come. */
export class SqliteBackend implements Backend {
  readonly adapter = new SqliteAdapter();
  readonly compiler = new SqliteQueryCompiler();
  readonly #path: string;
  readonly #worker: Worker;
  readonly #ended: Promise<void>;
  readonly #waiting = new Map<number, Waiting>();
  #lastId = 0;
  #failure: Error | undefined;

  /** @throws DatabaseUnreachable when the file cannot be opened */
  static async open({ path, busyTimeoutMs = 5000, observer }: SqliteOptions): Promise<SqliteBackend> {
    const module = createRequire(import.meta.url).resolve('better-sqlite3');
    const worker = new Worker(sqliteThreadSource, {
      eval: true,
      execArgv: [],
      workerData: { module, path, busyTimeoutMs },
    });
    const backend = new SqliteBackend(path, worker);
    await backend.#isReady();
    observer?.connected();
    void backend.#ended.then(() => observer?.disconnected());
    return backend;
  }

  private constructor(path: string, worker: Worker) {
    this.#path = path;
    this.#worker = worker;
    worker.on('message', (answer: Answer) => this.#settle(answer));
    worker.on('error', (error) => this.#fail(`${path}: ${error.message}`, error));
    this.#ended = new Promise((resolve) => {
      worker.once('exit', () => {
        this.#fail(`${path}: its thread has ended`);
        resolve();
      });
    });
  }

  async run({ sql, parameters }: CompiledQuery): Promise<QueryResult<unknown>> {
    const { affected, columns, rows } = (await this.#ask('run', plain({ sql, parameters }))) as RunResult;
    return { numAffectedRows: BigInt(affected), rows: rows.map((row) => objectOf(columns, row)) };
  }

  async transact(queries: readonly CompiledQuery[], guard: CompiledQuery | undefined): Promise<number[]> {
    const work = { queries: queries.map(plain), guard: guard && plain(guard) };
    const result = (await this.#ask('transact', work)) as TransactResult;
    if ('isGuardFailed' in result) throw new GuardFailed('the guard of the transaction found no row');
    return result.affected;
  }

  async stop(): Promise<void> {
    this.#worker.postMessage({ kind: 'close' });
    await this.#ended;
  }

  async #isReady(): Promise<void> {
    await new Promise<void>((resolve, reject) => {
      this.#waiting.set(0, { resolve: () => resolve(), reject });
      this.#worker.once('message', () => resolve());
    });
    this.#waiting.delete(0);
  }

  #ask(kind: 'run' | 'transact', work: unknown): Promise<unknown> {
    if (this.#failure) return Promise.reject(this.#failure);
    this.#lastId += 1;
    const id = this.#lastId;
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, { resolve, reject });
      this.#worker.postMessage({ id, kind, work });
    });
  }

  #settle(answer: Answer): void {
    const waiting = this.#waiting.get(answer.id);
    if (!waiting) return;
    this.#waiting.delete(answer.id);
    if ('error' in answer) waiting.reject(this.#classified(answer.error));
    else waiting.resolve(answer.result);
  }

  #fail(message: string, cause?: unknown): void {
    this.#failure ??= new DatabaseUnreachable(message, { cause });
    for (const { reject } of this.#waiting.values()) reject(this.#failure);
    this.#waiting.clear();
  }

  #classified({ message, code, isCommitting }: ThreadError): Error {
    const text = `${this.#path}: ${message}`;
    if (/^SQLITE_(BUSY|LOCKED)/.test(code)) return new DatabaseContention(text);
    if (/^SQLITE_IOERR/.test(code) && isCommitting) return new CommitUnknown(text);
    if (/^SQLITE_(IOERR|FULL|CANTOPEN|READONLY|NOTADB|CORRUPT)/.test(code)) return new DatabaseUnreachable(text);
    return new QueryRefused(text, code);
  }
}

/** Without what a thread cannot be handed, and SQLite cannot bind. */
function plain({ sql, parameters }: Pick<CompiledQuery, 'sql' | 'parameters'>) {
  return { sql, parameters: parameters.map((value) => (typeof value === 'boolean' ? Number(value) : value)) };
}

function objectOf(columns: readonly string[], row: readonly unknown[]): Record<string, unknown> {
  const object: Record<string, unknown> = {};
  for (let index = 0; index < columns.length; index += 1) object[columns[index]!] = row[index];
  return object;
}
