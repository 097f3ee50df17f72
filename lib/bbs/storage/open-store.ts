import type { DatabaseOptions } from '../../database/database.js';
import type { DatabaseObserver } from '../../database/database-observer.js';
import type { BbsConfig } from '../config.js';
import { SqlStore, type SqlStoreOptions } from './sql-store.js';

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

export interface OpenStoreOptions extends Omit<SqlStoreOptions, 'database' | 'keys'> {
  /** Hears of the database. */
  observer: DatabaseObserver;
}

/** @throws when the encryption keys cannot be used, naming the key of the configuration */
export function openStore(config: BbsConfig, { observer, ...options }: OpenStoreOptions): SqlStore {
  return SqlStore.create({
    ...options,
    database: { ...databaseOptions(config), observer },
    keys: { activeLabel: config.active_key_label, passphrases: config.encryption_keys },
  });
}
