import type { DatabaseOptions } from '../../database/database.js';
import type { QueryObserver } from '../../database/query-observer.js';
import type { Logger } from '../../logging/logger.js';
import type { BbsConfig } from '../config.js';
import { SqlStore } from './sql-store.js';

/** What a board that fell silent has begun is over before another one takes its place. */
const longestIdleMs = 5000;

/** Where the configuration says that rows and locks are kept. */
export function databaseOptions(config: BbsConfig): DatabaseOptions {
  return {
    driver: config.database_driver,
    connectionString: config.database_connection_string,
    maxConnections: config.max_open_database_connections,
    connectTimeoutMs: config.db_connection_timeout * 1000,
    queryTimeoutMs: Math.max(config.db_read_timeout, config.db_write_timeout) * 1000,
    idleTransactionTimeoutMs: Math.min(longestIdleMs, (config.lock_ttl * 1000) / 3),
    ...(config.sql_ca_cert_file !== '' && { caCertFile: config.sql_ca_cert_file }),
    verifiesIdentity: config.sql_enable_identity_verification,
  };
}

export interface OpenStoreOptions {
  queries: QueryObserver;
  logger: Logger;
  /** Nanoseconds since 1970. @default the system's clock */
  now?: () => bigint;
}

/** @throws when the encryption keys cannot be used, naming the key of the configuration */
export function openStore(config: BbsConfig, { queries, logger, now }: OpenStoreOptions): SqlStore {
  return SqlStore.create({
    database: { ...databaseOptions(config), observer: queries },
    keys: { activeLabel: config.active_key_label, passphrases: config.encryption_keys },
    logger,
    ...(now && { now }),
  });
}
