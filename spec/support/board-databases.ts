import { join } from 'node:path';
import { mariadb } from './mariadb.js';
import { postgres } from './postgres.js';

/** Keys of a board's configuration for an empty database of each kind; a SQLite file lies in the directory. */
export const boardDatabases = {
  SQLite: async (directory: string) => ({
    database_driver: 'sqlite3',
    database_connection_string: join(directory, 'bbs.db'),
  }),
  MariaDB: async () => ({
    database_driver: 'mysql',
    database_connection_string: await (await mariadb()).createDatabase(),
  }),
  PostgreSQL: async () => ({
    database_driver: 'postgres',
    database_connection_string: await (await postgres()).createDatabase(),
  }),
};
