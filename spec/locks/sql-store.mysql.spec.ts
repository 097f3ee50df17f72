import { mariadb } from '../support/mariadb.js';
import { behavesAsSqlLockStore } from './sql-store.js';

describe('SqlLockStore on MariaDB', () => {
  behavesAsSqlLockStore(async () => ({ driver: 'mysql', connectionString: await (await mariadb()).createDatabase() }));
});
