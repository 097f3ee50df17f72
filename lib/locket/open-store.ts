import { openDatabase } from '../database/database.js';
import type { DatabaseObserver } from '../database/database-observer.js';
import { HealthCheck, writeHealthRow } from '../database/health-check.js';
import { EmbeddedLockStore } from '../locks/embedded/embedded-store.js';
import type { LockStore } from '../locks/lock-store.js';
import { RedisLockStore, type RedisLockStoreOptions } from '../locks/redis/redis-store.js';
import { SqlLockStore } from '../locks/sql/sql-store.js';
import type { LockTables } from '../locks/sql/tables.js';
import type { Logger } from '../logging/logger.js';
import type { LocketConfig } from './config.js';

export interface OpenStoreOptions {
  config: LocketConfig;
  /** Hears of the database, where there is one. */
  observer?: DatabaseObserver | undefined;
  /** The database is not healthy: the process is to end. */
  onFailure(error: Error): void;
  logger: Logger;
}

/** A store that is started, and what it stands on. */
export interface OpenStore {
  store: LockStore;
  /** Stops the store and everything below it. */
  close(): Promise<void>;
}

/** @throws when the store that the configuration names cannot be used */
export async function openStore(options: OpenStoreOptions): Promise<OpenStore> {
  const { config, logger } = options;
  if (config.database_driver !== undefined) return openSqlStore(options);
  const { redis, data_directory: directory } = config;
  const store = redis
    ? new RedisLockStore({ ...redisOptions(redis), logger })
    : new EmbeddedLockStore({ logger, ...(directory !== undefined && { directory }) });
  return started({ store, close: () => store.stop() }, () => store.start());
}

async function openSqlStore({ config, observer, onFailure, logger }: OpenStoreOptions): Promise<OpenStore> {
  const { database_driver: driver, database_connection_string: connectionString } = config;
  const database = await openDatabase<LockTables>({
    driver: driver!,
    connectionString: connectionString!,
    maxConnections: config.max_open_database_connections,
    connectTimeoutMs: config.db_operation_timeout,
    queryTimeoutMs: config.db_operation_timeout,
    caCertFile: config.sql_ca_cert_file,
    verifiesIdentity: config.sql_enable_identity_verification,
    observer,
  });
  const store = new SqlLockStore({ database, logger });
  const checkRow = () => writeHealthRow(database, 'locket_health_check', BigInt(Date.now()) * 1_000_000n);
  const check = config.enable_db_health_check ? new HealthCheck({ check: checkRow, onFailure, logger }) : undefined;
  const close = async () => {
    await check?.stop();
    await store.stop();
    await database.stop();
  };
  return started({ store, close }, async () => {
    await store.start();
    check?.start();
  });
}

/** What does not start leaves nothing open. */
async function started(open: OpenStore, start: () => Promise<void>): Promise<OpenStore> {
  try {
    await start();
    return open;
  } catch (error) {
    await open.close();
    throw error;
  }
}

function redisOptions(redis: NonNullable<LocketConfig['redis']>): RedisLockStoreOptions {
  const { url, sentinels = [], master_name: name = '', password } = redis;
  return {
    server: url ?? { sentinels, name, password },
    prefix: redis.prefix,
    confirmingReplicas: redis.confirming_replicas,
    quarantineMs: redis.quarantine,
  };
}
