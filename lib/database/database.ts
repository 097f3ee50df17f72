import { type CompiledQuery, Kysely } from 'kysely';
import type { Backend } from './backends/backend.js';
import { MysqlBackend } from './backends/mysql.js';
import { PlainDriver } from './backends/plain-driver.js';
import { PostgresBackend } from './backends/postgres.js';
import { SqliteBackend } from './backends/sqlite.js';
import type { DatabaseObserver } from './database-observer.js';
import { retrying } from './retry.js';
import type { TlsOptions } from './tls.js';

/** The values of `database_driver`. */
export const flavours = ['sqlite3', 'mysql', 'postgres'] as const;
export type Flavour = (typeof flavours)[number];

export interface DatabaseOptions extends TlsOptions {
  /** `database_driver` */
  driver: Flavour;
  /**
   * `database_connection_string`: a file's path, a DSN of Go's MySQL driver (`user:pw@tcp(h:3306)/db`), or a
   * `postgres://` URL.
   */
  connectionString: string;
  /** `max_open_database_connections`; a SQLite file has one. @default 10 */
  maxConnections?: number;
  /** `db_connection_timeout` @default 10000 */
  connectTimeoutMs?: number;
  /** `db_read_timeout`, `db_write_timeout`: after so long without an answer a connection is taken for lost. @default 60000 */
  queryTimeoutMs?: number;
  /**
   * After so long the server ends a transaction whose client says nothing more: who was stopped in the midst of one must
   * not hold its rows. Whole seconds for MariaDB; MySQL has no such limit, and gets one for idle connections.
   * @default 10000
   */
  idleTransactionTimeoutMs?: number;
  /** So long a query of a server waits for rows that others hold; whole seconds for MySQL. @default 15000 */
  lockTimeoutMs?: number;
  /** Hears of all that is asked of the database, and of its connections. */
  observer?: DatabaseObserver | undefined;
}

export interface TransactionOptions {
  /** An update that must find a row, or nothing of the transaction is done and it throws GuardFailed. */
  guard?: CompiledQuery;
  /** In place of `queryTimeoutMs`. */
  timeoutMs?: number;
}

/**
 * A database of one of three kinds. Everything it throws is a class of `errors.ts`; passing failures it has met three
 * times, 500 ms apart, by then.
 *
 * Columns of type BIGINT, and counts, are bigint in every kind, other integers are numbers. A boolean may come out as 0
 * or 1, a sum as text. No error holds a password.
 */
export interface Database<Schema> {
  readonly flavour: Flavour;
  /** Builds queries, and runs selects. */
  readonly kysely: Kysely<Schema>;
  /**
   * Runs the queries in one transaction on one connection. Those that change the schema are none for MySQL.
   *
   * @returns how many rows each has affected; an update affects the rows that it finds, changed or not
   */
  transact(queries: readonly CompiledQuery[], options?: TransactionOptions): Promise<number[]>;
  /** Lets go of all connections. Idempotent. */
  stop(): Promise<void>;
}

/**
 * @throws DatabaseUnreachable when it cannot be connected to
 * @throws InvalidConnectionString
 */
export async function openDatabase<Schema>(options: DatabaseOptions): Promise<Database<Schema>> {
  const { queryTimeoutMs = 60_000 } = options;
  return new SqlDatabase<Schema>(options.driver, await openBackend(options), queryTimeoutMs, options.observer);
}

function openBackend(options: DatabaseOptions): Promise<Backend> {
  const { driver, connectionString, caCertFile, verifiesIdentity, observer } = options;
  const server = {
    connectionString,
    maxConnections: options.maxConnections ?? 10,
    connectTimeoutMs: options.connectTimeoutMs ?? 10_000,
    idleTransactionTimeoutMs: options.idleTransactionTimeoutMs ?? 10_000,
    lockTimeoutMs: options.lockTimeoutMs ?? 15_000,
    tls: { caCertFile, verifiesIdentity },
    observer,
  };
  switch (driver) {
    case 'sqlite3':
      return SqliteBackend.open({ path: connectionString, observer });
    case 'mysql':
      return MysqlBackend.open(server);
    case 'postgres':
      return PostgresBackend.open(server);
  }
}

class SqlDatabase<Schema> implements Database<Schema> {
  readonly flavour: Flavour;
  readonly kysely: Kysely<Schema>;
  readonly #backend: Backend;
  readonly #queryTimeoutMs: number;
  readonly #observer: DatabaseObserver | undefined;
  readonly #stopping = new AbortController();
  #stopped: Promise<void> | undefined;

  constructor(flavour: Flavour, backend: Backend, queryTimeoutMs: number, observer?: DatabaseObserver) {
    this.#observer = observer;
    this.flavour = flavour;
    this.#backend = backend;
    this.#queryTimeoutMs = queryTimeoutMs;
    const run = (query: CompiledQuery) => this.#retrying(() => backend.run(query, queryTimeoutMs));
    this.kysely = new Kysely<Schema>({
      dialect: {
        createAdapter: () => backend.adapter,
        createDriver: () => new PlainDriver(run),
        createQueryCompiler: () => backend.compiler,
        createIntrospector: () => {
          throw new Error('the schema is known: it is not looked up');
        },
      },
    });
  }

  transact(queries: readonly CompiledQuery[], options: TransactionOptions = {}): Promise<number[]> {
    const { guard, timeoutMs = this.#queryTimeoutMs } = options;
    return this.#retrying(() => this.#backend.transact(queries, guard, timeoutMs));
  }

  stop(): Promise<void> {
    this.#stopping.abort();
    this.#stopped ??= this.#backend.stop();
    return this.#stopped;
  }

  async #retrying<T>(attempt: () => Promise<T>): Promise<T> {
    const asked = performance.now();
    let hasSucceeded = false;
    this.#observer?.started();
    try {
      const result = await retrying(attempt, { signal: this.#stopping.signal });
      hasSucceeded = true;
      return result;
    } finally {
      this.#observer?.ended(hasSucceeded, performance.now() - asked);
    }
  }
}
