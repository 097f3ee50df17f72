import { postgres } from '../../support/postgres.js';
import { itKeepsTheBoard } from './store-contract.js';

describe('SqlStore on PostgreSQL', () => {
  itKeepsTheBoard(async () => ({ driver: 'postgres', connectionString: await (await postgres()).createDatabase() }));
});
