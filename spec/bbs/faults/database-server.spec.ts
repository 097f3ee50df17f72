import { expect } from 'chai';
import { Bbs } from '../../../lib/bbs/bbs.js';
import { BbsClient } from '../../../lib/bbs/client/bbs-client.js';
import type { BbsError } from '../../../lib/bbs/errors.js';
import { ErrorType } from '../../../lib/bbs/messages/models.js';
import { silentLogger } from '../../../lib/logging/logger.js';
import { completeBbsConfig, type RunningBbs, startBbs } from '../../support/bbs.js';
import { BoardLoad, sampleDesiredLrp } from '../../support/board-load.js';
import { boardCommits, CuttingProxy } from '../../support/cutting-proxy.js';
import type { DatabaseServer } from '../../support/database-server.js';
import { eventually } from '../../support/eventually.js';
import { startMariadb } from '../../support/mariadb.js';
import { startPostgres } from '../../support/postgres.js';
import { RawEventStream } from '../../support/raw-event-stream.js';
import { rejectionOf } from '../../support/rejection.js';

/** How long connections are cut at random; `npm run chaos` takes two minutes for each kind. */
const cuttingMs = process.env.CHAOS_SECONDS ? Number(process.env.CHAOS_SECONDS) * 200 : 1500;

const kinds = {
  MariaDB: { driver: 'mysql', start: () => startMariadb() },
  PostgreSQL: { driver: 'postgres', start: () => startPostgres() },
};

for (const [kind, { driver, start }] of Object.entries(kinds)) {
  describe(`a board whose ${kind} fails`, function () {
    this.timeout(cuttingMs * 2 + 60_000);
    let server: DatabaseServer & { stop(): Promise<void> };
    let proxy: CuttingProxy;
    let board: RunningBbs;
    let count = 0;

    before(async () => {
      server = await start();
      proxy = await CuttingProxy.start(server.port);
      const text = await server.createDatabase();
      board = await startBbs({
        database: {
          database_driver: driver,
          database_connection_string: text.replace(`:${server.port}`, `:${proxy.port}`),
        },
        // The lock is in the same database, and must outlast what is done to it.
        config: { lock_ttl: '10m', db_read_timeout: '2s', db_write_timeout: '2s', db_connection_timeout: '1s' },
      });
    });

    after(async () => {
      await board?.stop();
      await proxy?.stop();
      await server?.stop();
    });

    afterEach(() => {
      proxy.decide = () => 'pass';
    });

    const desire = (processGuid: string) =>
      board.client.call('DesireDesiredLRP', { desiredLrp: sampleDesiredLrp(processGuid, { instances: 2 }) });
    const guids = async () =>
      (await board.client.call('DesiredLRPs')).desiredLrps.map(({ processGuid }) => processGuid);
    const newGuid = () => {
      count += 1;
      return `p-${count}`;
    };

    /** What is read from memory is what a new board finds in the database. */
    async function expectTrueImage(): Promise<void> {
      const all = async () => ({
        ...(await board.client.call('DesiredLRPs')),
        ...(await board.client.call('ActualLRPs')),
        ...(await board.client.call('Tasks')),
      });
      const before = await all();
      await board.restart();
      const after = await all();
      for (const name of ['desiredLrps', 'actualLrps', 'tasks'] as const) {
        expect(after[name]).to.have.deep.members(before[name] as never[]);
      }
    }

    for (const fate of ['lose', 'cut before the answer'] as const) {
      it(`acknowledges a call whose first commit breaks off (${fate}), and has it once`, async () => {
        const isCommit = boardCommits();
        let broken = 0;
        proxy.decide = (piece, connection) => {
          if (!isCommit(piece, connection) || broken > 0) return 'pass';
          broken += 1;
          return fate;
        };
        const guid = newGuid();
        await desire(guid);
        expect(broken).to.equal(1);
        expect((await guids()).filter((found) => found === guid)).to.deep.equal([guid]);
        await expectTrueImage();
      });

      it(`says so when nobody knows of a commit (${fate}), reads anew, and ends streams`, async () => {
        const stream = await RawEventStream.open(board.url, '/v1/events/lrp_instances.r1');
        const isCommit = boardCommits();
        proxy.decide = (piece, connection) => (isCommit(piece, connection) ? fate : 'pass');
        const guid = newGuid();
        const error = (await rejectionOf(desire(guid))) as Error & BbsError;
        expect(error.type).to.equal(ErrorType.UnknownError);
        expect(error.message).to.match(/connection/);
        expect(await guids()).to.include('p-1');
        proxy.decide = () => 'pass';
        expect(await stream.ended).to.equal('last chunk');
        expect((await guids()).includes(guid)).to.equal(fate === 'cut before the answer');
        await desire(newGuid());
        await expectTrueImage();
      });
    }

    if (kind === 'MariaDB') {
      it('says that a guid exists which its database takes for another one, in other letters', async () => {
        await desire('letters');
        const error = (await rejectionOf(desire('LETTERS'))) as Error & BbsError;
        expect(error.type).to.equal(ErrorType.ResourceExists);
        expect(await guids()).not.to.include('LETTERS');
        await expectTrueImage();
      });
    }

    it('loses nothing that it acknowledged while connections break at any moment', async () => {
      const load = new BoardLoad(8, `cut-${kind}`);
      let pieces = 0;
      proxy.decide = () => {
        pieces += 1;
        const choice = Math.random();
        if (choice < 0.02) return 'lose';
        return choice < 0.04 ? 'cut before the answer' : 'pass';
      };
      const deadline = Date.now() + cuttingMs;
      await load.run(board.client, { isOver: () => Date.now() > deadline, onFailure: () => 'go on' });
      proxy.decide = () => 'pass';
      // Writes wait until all is read anew; reads do not.
      await eventually(() => desire(newGuid()).then(() => true), { what: 'a write' });
      await load.settle(board.client);
      await board.restart();
      await load.settle(board.client);
      expect(board.fatal).to.equal(undefined);
      expect(load.acknowledged).to.be.above(0);
      if (process.env.CHAOS_SECONDS) {
        console.log(`      ${pieces} pieces; ${load.acknowledged} calls acknowledged, ${load.unacknowledged} not`);
      }
    });

    it('does not wait for ever for a commit that gets no answer', async () => {
      const isCommit = boardCommits();
      let stalled = 0;
      proxy.decide = (piece, connection) => {
        if (stalled > 0 || !isCommit(piece, connection)) return 'pass';
        stalled += 1;
        return 'stall';
      };
      const guid = newGuid();
      const outcome = await desire(guid).then(
        () => 'acknowledged',
        () => 'refused',
      );
      expect(stalled).to.equal(1);
      // The connection hangs on with its transaction, whose rows others wait for.
      await eventually(async () => desire(newGuid()).then(() => true), { what: 'a write', timeoutMs: 30_000 });
      if (outcome === 'acknowledged') expect(await guids()).to.include(guid);
      await expectTrueImage();
    });

    it('serves reads while its database is slow, and writes when it goes on', async () => {
      await server.pause();
      const guid = newGuid();
      const writing = desire(guid);
      await guids();
      await server.resume();
      await writing;
      expect(await guids()).to.include(guid);
    });

    it('gives up at its end when its database hangs', async () => {
      const other = new Bbs({
        config: completeBbsConfig({
          uuid: 'other',
          database_driver: driver,
          database_connection_string: await server.createDatabase(),
        }),
        onFatal: () => {},
        stopMs: 200,
        logger: silentLogger,
      });
      await other.start();
      await other.whenActive();
      const client = BbsClient.create({ url: `http://127.0.0.1:${other.port}`, attempts: 1 });
      await server.pause();
      const writing = rejectionOf(client.call('UpsertDomain', { domain: 'd', ttl: 0 }));
      await client.call('Ping', {});
      const { message } = await rejectionOf(other.stop());
      await server.resume();
      client.stop();
      await writing;
      expect(message).to.equal('the database does not answer');
    });

    it('serves reads while its database is away, refuses writes, and writes when it is back', async () => {
      const load = new BoardLoad(4, `away-${kind}`);
      await load.runFor(board.client, 50);
      let isBack = false;
      const working = load.run(board.client, { isOver: () => isBack, onFailure: () => 'go on' });
      await server.kill();
      const guid = newGuid();
      const error = (await rejectionOf(desire(guid))) as Error & BbsError;
      expect(error.type).to.equal(ErrorType.UnknownError);
      expect(error.message).not.to.match(/p@ss|p%40/);
      expect(await guids()).not.to.include(guid);
      await server.restart();
      await eventually(() => desire(guid).then(() => true), { what: 'a write' });
      isBack = true;
      await working;
      await load.settle(board.client);
      await expectTrueImage();
    });
  });
}
