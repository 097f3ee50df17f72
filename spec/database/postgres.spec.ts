import { postgres } from '../support/postgres.js';
import { itIsADatabase } from './database-contract.js';
import { itIsAServer } from './server-contract.js';

describe('Database on PostgreSQL', () => {
  itIsADatabase(async () => ({ driver: 'postgres', connectionString: await (await postgres()).createDatabase() }));
  itIsAServer('postgres', postgres, 'p@ss:w/rd');
});
