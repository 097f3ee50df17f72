import { expect } from 'chai';
import { SqlStore } from '../../../lib/bbs/storage/sql-store.js';
import { NotWritten } from '../../../lib/bbs/storage/store.js';
import { silentLogger } from '../../../lib/logging/logger.js';
import { actualLrp, desiredLrp, inserts, RecordedRows } from '../../support/board-rows.js';
import { mariadb } from '../../support/mariadb.js';
import { itKeepsTheBoard, keys } from './store-contract.js';

describe('SqlStore on MariaDB', () => {
  itKeepsTheBoard(async () => ({ driver: 'mysql', connectionString: await (await mariadb()).createDatabase() }));

  it('does not put a row in the place of one whose name differs in case only', async () => {
    const connectionString = await (await mariadb()).createDatabase();
    const store = SqlStore.create({ database: { driver: 'mysql', connectionString }, keys, logger: silentLogger });
    try {
      await store.start();
      await store.take();
      await store.write([inserts.desired(desiredLrp('guid')), inserts.actual(actualLrp('guid'))]);
      const refusals = await Promise.all(
        [
          [inserts.desired(desiredLrp('GUID'))],
          [inserts.actual(actualLrp('fine')), inserts.actual(actualLrp('Guid'))],
          [inserts.desired(desiredLrp('another'))],
        ].map((changes) =>
          store.write(changes).then(
            () => 'written',
            (error: unknown) => (error instanceof NotWritten ? 'not written' : error),
          ),
        ),
      );
      expect(refusals).to.eql(['not written', 'not written', 'written']);
      const rows = new RecordedRows();
      await store.load(rows);
      expect([...rows.desired.keys(), ...rows.actual.keys()]).to.have.members(['guid', 'another', 'guid/0/0']);
    } finally {
      await store.stop();
    }
  });
});
