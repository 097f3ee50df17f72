import { type Database, type DatabaseOptions, openDatabase } from '../database/database.js';
import { readIdentity } from '../http/internal-tls.js';
import { LocketClient } from '../locks/client/locket-client.js';
import type { Locks } from '../locks/lock-store.js';
import { LocketServer } from '../locks/server/locket-server.js';
import { SqlLockStore } from '../locks/sql/sql-store.js';
import type { LockTables } from '../locks/sql/tables.js';
import type { Logger } from '../logging/logger.js';
import type { BbsConfig } from './config.js';
import { databaseOptions } from './storage/open-store.js';

/** Renewals of many cells go over so many connections; the board's own rows have others. */
const maxConnections = 10;

/**
 * Where the board's lock and the presences of cells are: in a Locket, or, without `locket_address`, in the board's own
 * database. Those are served as a Locket's where `embedded_locket_address` says so, for cells and for other programs.
 */
export class OwnLocks {
  #locks: Locks | undefined;
  #server: LocketServer | undefined;
  readonly #stopping: (() => Promise<void>)[] = [];

  constructor(
    private readonly config: BbsConfig,
    private readonly logger: Logger,
  ) {}

  /** @throws before the start */
  get locks(): Locks {
    if (!this.#locks) throw new Error('the locks are not started');
    return this.#locks;
  }

  /** @throws when a certificate's file cannot be read, the store cannot be used, or the port is taken */
  async start(): Promise<void> {
    if (this.config.locket_address !== '') this.#connect();
    else await this.#open();
  }

  /** Of the Locket that is served; undefined when none is. */
  get port(): number | undefined {
    return this.#server?.port;
  }

  /** Idempotent. */
  async stop(): Promise<void> {
    for (let release = this.#stopping.pop(); release; release = this.#stopping.pop()) await release();
  }

  #connect(): void {
    const client = createLocketClient(this.config);
    this.#stopping.push(() => client.stop());
    this.#locks = client;
  }

  async #open(): Promise<void> {
    const { config, logger } = this;
    const database: Database<LockTables> = await openDatabase<LockTables>(lockDatabase(config));
    this.#stopping.push(() => database.stop());
    const store = new SqlLockStore({ database, logger });
    this.#stopping.push(() => store.stop());
    await store.start();
    this.#locks = store;
    if (!config.embedded_locket_address) return;
    const { ca_file: caFile, cert_file: certFile, key_file: keyFile } = config;
    const identity = readIdentity({ caFile, certFile, keyFile });
    const { embedded_locket_address: address, allowed_clients: allowedClients } = config;
    const server = new LocketServer({ store, ...address, identity, allowedClients, logger });
    this.#server = server;
    this.#stopping.push(() => server.stop());
    await server.start();
  }
}

/** An answer that comes after the lock's time is of no use: the connection is given up, and another one made. */
function lockDatabase(config: BbsConfig): DatabaseOptions {
  const options = databaseOptions(config);
  return { ...options, maxConnections, queryTimeoutMs: Math.min(options.queryTimeoutMs!, config.lock_ttl * 1000) };
}

/** Of the Locket that `locket_address` names. @throws when a certificate's file cannot be read or used */
export function createLocketClient(config: BbsConfig): LocketClient {
  const { locket_ca_cert_file, locket_client_cert_file, locket_client_key_file } = config;
  return new LocketClient({
    address: config.locket_address,
    identity: readIdentity({
      caFile: locket_ca_cert_file,
      certFile: locket_client_cert_file,
      keyFile: locket_client_key_file,
    }),
    timeoutMs: config.db_connection_timeout * 1000,
    keepaliveTimeMs: config.locket_client_keepalive_time * 1000,
    keepaliveTimeoutMs: config.locket_client_keepalive_timeout * 1000,
  });
}
