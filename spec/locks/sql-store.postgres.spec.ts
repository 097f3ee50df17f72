import { postgres } from '../support/postgres.js';
import { behavesAsSqlLockStore } from './sql-store.js';

describe('SqlLockStore on PostgreSQL', () => {
  behavesAsSqlLockStore(async () => ({
    driver: 'postgres',
    connectionString: await (await postgres()).createDatabase(),
  }));
});
