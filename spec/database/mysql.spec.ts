import { expect } from 'chai';
import { openDatabase } from '../../lib/database/database.js';
import { DatabaseUnreachable } from '../../lib/database/errors.js';
import { mariadb, mariadbPassword } from '../support/mariadb.js';
import { itIsADatabase } from './database-contract.js';
import { itIsAServer } from './server-contract.js';

describe('Database on MariaDB', () => {
  itIsADatabase(async () => ({ driver: 'mysql', connectionString: await (await mariadb()).createDatabase() }));
  itIsAServer('mysql', mariadb, mariadbPassword);

  it('says that the server does not let it in, without the password', async () => {
    const connectionString = (await (await mariadb()).createDatabase()).replace(mariadbPassword, 'wrong word');
    const error = await openDatabase({ driver: 'mysql', connectionString }).then(
      () => undefined,
      (error) => error,
    );
    expect(error).to.be.instanceOf(DatabaseUnreachable);
    expect(error.message).to.contain("Access denied for user 'board'").and.not.contain('wrong word');
  });
});
