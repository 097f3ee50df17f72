import { postgresConfig } from '../../support/board/databases.js';
import { itServesTheApi } from './themes/all.js';
import { itSharesTheDatabaseOfAGoBoard } from './themes/go-database.js';
import { itWaitsForMigrations } from './themes/migrations.js';

describe('a board on PostgreSQL', () => {
  describe('and its API', () => itServesTheApi(postgresConfig));

  itSharesTheDatabaseOfAGoBoard(postgresConfig);

  itWaitsForMigrations(postgresConfig);
});
