import { expect } from 'chai';
import { SqlStore } from '../../../lib/bbs/storage/sql-store.js';
import { NotWritten, OutcomeUnknown, ReignLost } from '../../../lib/bbs/storage/store.js';
import type { DatabaseOptions } from '../../../lib/database/database.js';
import { silentLogger } from '../../../lib/logging/logger.js';
import { actualLrp, inserts, RecordedRows } from '../../support/board-rows.js';
import { CommitCutter } from '../../support/commit-cutter.js';
import type { DatabaseServer } from '../../support/database-server.js';
import { eventually } from '../../support/eventually.js';
import { mariadb } from '../../support/mariadb.js';
import { postgres } from '../../support/postgres.js';
import { keys } from './store-contract.js';

for (const [name, driver, start] of [
  ['MariaDB', 'mysql', mariadb],
  ['PostgreSQL', 'postgres', postgres],
] as const) {
  describe(`SqlStore when ${name} fails`, () => {
    let server: DatabaseServer;
    let cutter: CommitCutter;
    let database: DatabaseOptions;
    let store: SqlStore;

    async function taken(): Promise<SqlStore> {
      const taking = SqlStore.create({ database, keys, logger: silentLogger });
      await taking.start();
      await taking.take();
      await taking.load(new RecordedRows());
      return taking;
    }

    before(async () => {
      server = await start();
    });

    beforeEach(async () => {
      cutter = new CommitCutter(server.port);
      const port = await cutter.start();
      const connectionString = (await server.createDatabase()).replace(String(server.port), String(port));
      database = { driver, connectionString, idleTransactionTimeoutMs: 1000 };
      store = await taken();
    });

    afterEach(async () => {
      await store.stop();
      await cutter.stop();
    });

    const write = (guid: string) => store.write([inserts.actual(actualLrp(guid))]);
    const found = async () => {
      const rows = new RecordedRows();
      await store.load(rows);
      return [...rows.actual.keys()].map((id) => id.split('/')[0]).sort();
    };

    it('writes a batch again when the connection breaks at the commit', async () => {
      cutter.cut('after', 'before');
      await Promise.all([write('a'), write('b')]);
      expect(await found()).to.eql(['a', 'b']);
      expect(await store.isUntouched()).to.equal(true);
    });

    it('writes calls that come together in few transactions', async () => {
      const before = cutter.commits;
      await Promise.all(Array.from({ length: 400 }, (_, index) => write(`p-${index}`)));
      expect(cutter.commits - before).to.be.at.most(2);
    });

    it('says that nobody knows when it goes on breaking', async () => {
      cutter.cut('before', 'after', 'before');
      const error = await write('a').catch((error) => error);
      expect(error).to.be.instanceOf(OutcomeUnknown);
      await write('b');
      expect(await found()).to.eql(['a', 'b']);
    });

    it('loses nothing of what it has acknowledged when the server is killed among batches', async () => {
      const acknowledged: string[] = [];
      const unwritten: string[] = [];
      let isOver = false;
      const writers = Array.from({ length: 8 }, async (_, writer) => {
        for (let count = 0; !isOver; count += 1) {
          const guid = `${writer}-${count}`;
          await write(guid).then(
            () => acknowledged.push(guid),
            (error) => {
              // Of those that are unknown, either is right.
              if (error instanceof NotWritten) unwritten.push(guid);
              else if (!(error instanceof OutcomeUnknown)) throw error;
            },
          );
        }
      });
      while (acknowledged.length < 50) await write('another');
      await server.kill();
      await server.restart();
      const before = acknowledged.length;
      while (acknowledged.length < before + 50) await write('another').catch(() => {});
      isOver = true;
      await Promise.all(writers);
      const there = await found();
      expect(there).to.include.members(acknowledged);
      expect(there).not.to.include.any.members(['', ...unwritten]);
      expect(await store.isUntouched()).to.equal(true);
    });

    it('yields to another board when it is stopped in the midst of a transaction', async () => {
      cutter.cut('held');
      const before = cutter.commits;
      const written = write('a').catch((error) => error);
      await eventually(() => cutter.commits > before || undefined);
      const successor = await taken();
      try {
        await successor.write([inserts.actual(actualLrp('b'))]);
        // It may have been quicker, with its second attempt.
        if (await written) expect(await written).to.be.instanceOf(ReignLost);
        expect(await write('c').catch((error) => error)).to.be.instanceOf(ReignLost);
      } finally {
        await successor.stop();
      }
    });

    it('writes nothing when the server is away, and says so', async () => {
      await server.kill();
      try {
        expect(await write('a').catch((error) => error)).to.be.instanceOf(NotWritten);
      } finally {
        await server.restart();
      }
      await write('b');
      expect(await found()).to.eql(['b']);
    });
  });
}
