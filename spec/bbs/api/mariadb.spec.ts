import { mariadbConfig } from '../../support/board/databases.js';
import { itServesTheApi } from './themes/all.js';
import { itSharesTheDatabaseOfAGoBoard } from './themes/go-database.js';

describe('a board on MariaDB', () => {
  describe('and its API', () => itServesTheApi(mariadbConfig));

  itSharesTheDatabaseOfAGoBoard(mariadbConfig);
});
