import type { Socket } from 'node:net';
import type { ConnectionOptions } from 'node:tls';
import { type CompiledQuery, PostgresAdapter, PostgresQueryCompiler, type QueryResult } from 'kysely';
import pg from 'pg';
import { parsePostgresAddress, type ServerAddress } from '../connection-string.js';
import type { DatabaseObserver } from '../database-observer.js';
import { CommitUnknown, DatabaseContention, DatabaseUnreachable, GuardFailed, QueryRefused } from '../errors.js';
import { type TlsTrust, tlsTrust } from '../tls.js';
import type { Backend } from './backend.js';
import { sendGuarded } from './guarded.js';
import { OpenSockets } from './open-sockets.js';
import type { ServerOptions } from './server-options.js';

/** Serialization failure, deadlock, lock not available. */
const contentions = new Set(['40001', '40P01', '55P03']);
/**
 * Shutdown, crash, starting up, too many connections, idle too long; and read-only: this server is no longer the first
 * of its group.
 */
const goneServers = new Set(['57P01', '57P02', '57P03', '57P05', '53300', '25P03', '25006']);
const bigintOid = pg.types.builtins.INT8;

const types: pg.CustomTypesConfig = {
  getTypeParser: ((oid: number, format: 'text' | 'binary') =>
    oid === bigintOid ? BigInt : pg.types.getTypeParser(oid, format as 'text')) as typeof pg.types.getTypeParser,
};

/** A PostgreSQL server. A transaction takes two round trips: all statements one behind the other, then the commit. */
export class PostgresBackend implements Backend {
  readonly adapter = new PostgresAdapter();
  readonly compiler = new PostgresQueryCompiler();
  readonly #pool: pg.Pool;
  readonly #sockets: OpenSockets;
  readonly #observer: DatabaseObserver | undefined;
  #stopped: Promise<void> | undefined;

  /** @throws DatabaseUnreachable, InvalidConnectionString */
  static async open(options: ServerOptions): Promise<PostgresBackend> {
    const address = parsePostgresAddress(options.connectionString);
    const backend = new PostgresBackend(
      new pg.Pool(poolConfig(address, tlsTrust(options.tls, address), options)),
      options,
    );
    try {
      (await backend.#connect()).release();
      return backend;
    } catch (error) {
      await backend.stop();
      throw error;
    }
  }

  private constructor(pool: pg.Pool, { observer }: ServerOptions) {
    this.#pool = pool;
    this.#observer = observer;
    this.#sockets = new OpenSockets(observer);
    // One that breaks while nobody uses it: the pool makes another.
    pool.on('error', () => {});
    pool.on('connect', (client) => {
      // The types leave it out.
      this.#sockets.add((client as unknown as { connection: { stream: Socket } }).connection.stream);
    });
  }

  async run(query: CompiledQuery, timeoutMs: number): Promise<QueryResult<unknown>> {
    const client = await this.#connect();
    try {
      const { rows, rowCount } = await client.query(queryConfig(query, timeoutMs));
      client.release();
      return { rows, numAffectedRows: BigInt(rowCount ?? 0) };
    } catch (error) {
      const reason = classified(error);
      client.release(reason instanceof DatabaseUnreachable);
      throw reason;
    }
  }

  async transact(
    queries: readonly CompiledQuery[],
    guard: CompiledQuery | undefined,
    timeoutMs: number,
  ): Promise<number[]> {
    const client = await this.#connect();
    try {
      const affected = await sendGuarded(queries, guard, (all) => sendAll(client, all, timeoutMs));
      await commit(client, timeoutMs);
      client.release();
      return affected;
    } catch (error) {
      const reason = error instanceof GuardFailed || error instanceof CommitUnknown ? error : classified(error);
      await letGo(client, reason, timeoutMs);
      throw reason;
    }
  }

  stop(): Promise<void> {
    this.#stopped ??= this.#pool.end().then(() => this.#sockets.closed());
    return this.#stopped;
  }

  async #connect(): Promise<pg.PoolClient> {
    const { idleCount, totalCount, waitingCount, options } = this.#pool;
    const isBusy = idleCount + options.max - totalCount <= waitingCount;
    const waitingSince = isBusy ? performance.now() : undefined;
    try {
      const client = await this.#pool.connect();
      // Its queries tell, too; without a listener the event would end the process.
      if (client.listenerCount('error') === 0) client.on('error', () => {});
      return client;
    } catch (error) {
      throw new DatabaseUnreachable(`no connection to the database: ${textOf(error)}`, { cause: error });
    } finally {
      if (waitingSince !== undefined) this.#observer?.waited(performance.now() - waitingSince);
    }
  }
}

function poolConfig(address: ServerAddress, trust: TlsTrust | undefined, options: ServerOptions): pg.PoolConfig {
  const { host, port, socketPath, user, password, database } = address;
  return {
    host: socketPath ?? host,
    port,
    user,
    password,
    database,
    types,
    pipeline: true,
    max: options.maxConnections,
    connectionTimeoutMillis: options.connectTimeoutMs,
    idle_in_transaction_session_timeout: options.idleTransactionTimeoutMs,
    lock_timeout: options.lockTimeoutMs,
    ssl: trust ? sslOptions(trust) : false,
  };
}

function sslOptions({ ca, rejectUnauthorized, verifiesIdentity }: TlsTrust): ConnectionOptions {
  return {
    ...(ca !== undefined && { ca }),
    rejectUnauthorized,
    ...(!verifiesIdentity && { checkServerIdentity: () => undefined }),
  };
}

/** @returns the number of rows that each query has affected */
async function sendAll(client: pg.PoolClient, queries: readonly CompiledQuery[], timeoutMs: number): Promise<number[]> {
  const all = [command('BEGIN', timeoutMs), ...queries.map((query) => queryConfig(query, timeoutMs))];
  const results = await Promise.allSettled(all.map((query) => client.query(query)));
  // Those behind the one that failed only say that the transaction has failed.
  const failure = results.find((result) => result.status === 'rejected');
  if (failure) throw failure.reason;
  return results.slice(1).map((result) => (result.status === 'fulfilled' ? (result.value.rowCount ?? 0) : 0));
}

async function commit(client: pg.PoolClient, timeoutMs: number): Promise<void> {
  try {
    await client.query(command('COMMIT', timeoutMs));
  } catch (error) {
    if (error instanceof pg.DatabaseError && !isGone(error)) throw error;
    throw new CommitUnknown(`the connection broke during the commit: ${textOf(error)}`, { cause: error });
  }
}

async function letGo(client: pg.PoolClient, reason: Error, timeoutMs: number): Promise<void> {
  if (reason instanceof CommitUnknown || reason instanceof DatabaseUnreachable) {
    client.release(true);
    return;
  }
  try {
    await client.query(command('ROLLBACK', timeoutMs));
    client.release();
  } catch {
    // Its end rolls back, too.
    client.release(true);
  }
}

/** The driver has a limit for each query; its types do not say so. */
type TimedQuery = pg.QueryConfig<unknown[]> & { query_timeout: number };

function queryConfig({ sql, parameters }: CompiledQuery, timeoutMs: number): TimedQuery {
  return { text: sql, values: [...parameters], query_timeout: timeoutMs };
}

function command(text: string, timeoutMs: number): TimedQuery {
  return { text, values: [], query_timeout: timeoutMs };
}

function classified(error: unknown): Error {
  const options = { cause: error };
  if (!(error instanceof pg.DatabaseError) || isGone(error)) {
    return new DatabaseUnreachable(`the connection to the database broke: ${textOf(error)}`, options);
  }
  const code = error.code ?? '';
  if (contentions.has(code)) return new DatabaseContention(error.message, options);
  return new QueryRefused(error.message, code, options);
}

function isGone({ code = '' }: pg.DatabaseError): boolean {
  return code.startsWith('08') || goneServers.has(code);
}

function textOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  return error.message || ('code' in error ? String(error.code) : error.name);
}
