import type { BbsOptions } from '../bbs.js';
import { mariadb } from '../mariadb.js';
import { postgres } from '../postgres.js';

/** Of an empty database. */
export type DatabaseConfig = NonNullable<BbsOptions['database']>;

export async function mariadbConfig(): Promise<DatabaseConfig> {
  return { database_driver: 'mysql', database_connection_string: await (await mariadb()).createDatabase() };
}

export async function postgresConfig(): Promise<DatabaseConfig> {
  return { database_driver: 'postgres', database_connection_string: await (await postgres()).createDatabase() };
}
