import { isIP, type Socket } from 'node:net';
import { type CompiledQuery, MysqlAdapter, MysqlQueryCompiler, type QueryResult } from 'kysely';
import {
  createPool,
  type Pool,
  type PoolConnection,
  type PoolOptions,
  type QueryError,
  type ResultSetHeader,
  type SslOptions,
  type TypeCastField,
} from 'mysql2';
import { InvalidConnectionString, parseMysqlAddress, type ServerAddress } from '../connection-string.js';
import type { DatabaseObserver } from '../database-observer.js';
import { CommitUnknown, DatabaseContention, DatabaseUnreachable, GuardFailed, QueryRefused } from '../errors.js';
import { type TlsTrust, tlsTrust } from '../tls.js';
import type { Backend } from './backend.js';
import { sendGuarded } from './guarded.js';
import { OpenSockets } from './open-sockets.js';
import type { ServerOptions } from './server-options.js';

/** Statements go to the server together up to so many characters; the smallest usual limit of a packet is 4 MiB. */
const charactersPerPacket = 1024 * 1024;
/** Deadlock, lock wait timeout, and a row that changed meanwhile. */
const contentions = new Set([1213, 1205, 1020]);
/**
 * Too many connections, shutdown, killed, idle too long; and read-only: this server is no longer the first of its group.
 */
const goneServers = new Set([1040, 1053, 1317, 1927, 4031, 1290, 1792, 1836]);

type Outcome = ResultSetHeader | Record<string, unknown>[];

/** A MySQL or MariaDB server. A transaction takes two round trips: all statements at once, then the commit. */
export class MysqlBackend implements Backend {
  readonly adapter = new MysqlAdapter();
  readonly compiler = new MysqlQueryCompiler();
  readonly #pool: Pool;
  readonly #sockets: OpenSockets;
  readonly #observer: DatabaseObserver | undefined;
  #stopped: Promise<void> | undefined;

  /** @throws DatabaseUnreachable, InvalidConnectionString */
  static async open(options: ServerOptions): Promise<MysqlBackend> {
    const address = parseMysqlAddress(options.connectionString);
    const trust = tlsTrust(options.tls, address);
    // The driver would compare with "localhost" instead.
    if (trust?.verifiesIdentity && isIP(address.host ?? '') !== 0) {
      throw new InvalidConnectionString(
        'for the verification of its identity the server must have a name, not an address',
      );
    }
    const backend = new MysqlBackend(createPool(poolOptions(address, trust, options)), options);
    try {
      (await backend.#connect()).release();
      return backend;
    } catch (error) {
      await backend.stop();
      throw error;
    }
  }

  private constructor(pool: Pool, options: ServerOptions) {
    const settings = sessionSettings(options);
    this.#pool = pool;
    this.#observer = options.observer;
    this.#sockets = new OpenSockets(options.observer);
    // The first of what a new connection is asked.
    pool.on('connection', (connection) => {
      // The types leave it out.
      this.#sockets.add((connection as unknown as { stream: Socket }).stream);
      connection.query(settings, (error) => {
        if (error) connection.destroy();
      });
    });
  }

  async run({ sql, parameters }: CompiledQuery, timeoutMs: number): Promise<QueryResult<unknown>> {
    const connection = await this.#connect();
    try {
      const outcome = await query(connection, sql, parameters, timeoutMs);
      connection.release();
      if (Array.isArray(outcome)) return { rows: outcome };
      return { rows: [], numAffectedRows: BigInt(outcome.affectedRows) };
    } catch (error) {
      throw giveUp(connection, error);
    }
  }

  async transact(
    queries: readonly CompiledQuery[],
    guard: CompiledQuery | undefined,
    timeoutMs: number,
  ): Promise<number[]> {
    const connection = await this.#connect();
    try {
      const affected = await sendGuarded(queries, guard, (all) => sendAll(connection, all, timeoutMs));
      await commit(connection, timeoutMs);
      connection.release();
      return affected;
    } catch (error) {
      const reason = giveUp(connection, error);
      if (reason instanceof QueryRefused || reason instanceof GuardFailed || reason instanceof DatabaseContention) {
        await rollBack(connection, timeoutMs);
      }
      throw reason;
    }
  }

  stop(): Promise<void> {
    this.#stopped ??= new Promise<void>((resolve) => {
      this.#pool.end(() => resolve());
    }).then(() => this.#sockets.closed());
    return this.#stopped;
  }

  #connect(): Promise<PoolConnection> {
    return new Promise((resolve, reject) => {
      let waitingSince: number | undefined;
      const onWait = () => {
        waitingSince = performance.now();
      };
      // Told before the call returns, when all connections are in use.
      this.#pool.once('enqueue', onWait);
      this.#pool.getConnection((error, connection) => {
        if (waitingSince !== undefined) this.#observer?.waited(performance.now() - waitingSince);
        if (error) reject(new DatabaseUnreachable(`no connection to the database: ${textOf(error)}`, { cause: error }));
        else resolve(connection);
      });
      this.#pool.off('enqueue', onWait);
    });
  }
}

function poolOptions(address: ServerAddress, trust: TlsTrust | undefined, options: ServerOptions): PoolOptions {
  const { host, port, socketPath, user, password, database } = address;
  return {
    ...(socketPath === undefined ? { host: host!, port: port! } : { socketPath }),
    user,
    password,
    database,
    charset: 'utf8mb4',
    connectionLimit: options.maxConnections,
    connectTimeout: options.connectTimeoutMs,
    multipleStatements: true,
    typeCast: castValue,
    ...(trust && { ssl: sslOptions(trust) }),
  };
}

/**
 * Data that does not fit is an error, and a backslash escapes, whatever the server's own mode is. MariaDB and MySQL each
 * execute the comments that are theirs.
 */
function sessionSettings({ idleTransactionTimeoutMs, lockTimeoutMs }: ServerOptions): string {
  const seconds = (ms: number) => Math.max(1, Math.ceil(ms / 1000));
  const idle = seconds(idleTransactionTimeoutMs);
  return `SET SESSION sql_mode = 'STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION',
    innodb_lock_wait_timeout = ${seconds(lockTimeoutMs)}
    /*M!100300 , idle_transaction_timeout = ${idle} */
    /*!50700 , wait_timeout = ${idle} */`;
}

function sslOptions({ ca, rejectUnauthorized, verifiesIdentity }: TlsTrust): SslOptions {
  return { ...(ca !== undefined && { ca }), rejectUnauthorized, verifyIdentity: verifiesIdentity };
}

function castValue(field: TypeCastField, next: () => unknown): unknown {
  if (field.type !== 'LONGLONG') return next();
  const text = field.string();
  return text === null ? null : BigInt(text);
}

/** @returns the number of rows that each query has affected */
async function sendAll(
  connection: PoolConnection,
  queries: readonly CompiledQuery[],
  timeoutMs: number,
): Promise<number[]> {
  const affected: number[] = [];
  let texts = ['START TRANSACTION'];
  let values: unknown[] = [];
  let characters = 0;
  const send = async () => {
    const answer = await query(connection, texts.join(';'), values, timeoutMs);
    const outcomes = texts.length === 1 ? [answer] : (answer as Outcome[]);
    for (const outcome of outcomes) affected.push((outcome as ResultSetHeader).affectedRows ?? 0);
    [texts, values, characters] = [[], [], 0];
  };
  for (const { sql, parameters } of queries) {
    const size = parameters.reduce<number>((sum, value) => sum + sizeOf(value), sql.length);
    if (texts.length > 0 && characters + size > charactersPerPacket) await send();
    texts.push(sql);
    values = values.concat(parameters);
    characters += size;
  }
  if (texts.length > 0) await send();
  // What the beginning of the transaction affected.
  return affected.slice(1);
}

function sizeOf(value: unknown): number {
  return typeof value === 'string' ? value.length : 8;
}

async function commit(connection: PoolConnection, timeoutMs: number): Promise<void> {
  try {
    await query(connection, 'COMMIT', [], timeoutMs);
  } catch (error) {
    // Of a commit that failed otherwise, by a full disk or a kill, the server does not say what became of it.
    if (isOfServer(error) && contentions.has(error.errno ?? 0)) throw error;
    throw new CommitUnknown(`the commit had no answer, or a doubtful one: ${textOf(error)}`, { cause: error });
  }
}

async function rollBack(connection: PoolConnection, timeoutMs: number): Promise<void> {
  try {
    await query(connection, 'ROLLBACK', [], timeoutMs);
    connection.release();
  } catch {
    // Its end rolls back, too.
    connection.destroy();
  }
}

function query(
  connection: PoolConnection,
  sql: string,
  values: readonly unknown[],
  timeout: number,
): Promise<Outcome | Outcome[]> {
  return new Promise((resolve, reject) => {
    connection.query({ sql, values: values.map(bindable), timeout }, (error, result) => {
      if (error) reject(withoutText(error));
      else resolve(result as Outcome | Outcome[]);
    });
  });
}

/** The driver adds the whole statement to it, with all that rows hold. */
function withoutText(error: QueryError): QueryError {
  if ('sql' in error) delete error.sql;
  return error;
}

function bindable(value: unknown): unknown {
  return typeof value === 'bigint' ? value.toString() : value;
}

/** The error as callers know it; a connection that is of no more use is ended, a refusing one is for the caller. */
function giveUp(connection: PoolConnection, error: unknown): unknown {
  if (error instanceof GuardFailed) return error;
  if (error instanceof CommitUnknown) {
    connection.destroy();
    return error;
  }
  if (isOfServer(error) && !goneServers.has(error.errno ?? 0)) {
    const options = { cause: error };
    if (contentions.has(error.errno ?? 0)) return new DatabaseContention(textOf(error), options);
    return new QueryRefused(textOf(error), error.code, options);
  }
  connection.destroy();
  return new DatabaseUnreachable(`the connection to the database broke: ${textOf(error)}`, { cause: error });
}

/** Whether the server answered; everything else is of the connection. */
function isOfServer(error: unknown): error is QueryError {
  return error instanceof Error && 'sqlState' in error && error.sqlState !== undefined;
}

function textOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  return error.message || ('code' in error ? String(error.code) : error.name);
}
