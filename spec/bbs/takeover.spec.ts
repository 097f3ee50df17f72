import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { BbsProgram } from '../support/bbs-program.js';
import { boardDatabases } from '../support/board-databases.js';
import { BoardLoad, sampleTaskDefinition } from '../support/board-load.js';
import { eventually } from '../support/eventually.js';
import { RawEventStream } from '../support/raw-event-stream.js';

/** How long a silent board keeps the lock; `npm run chaos` takes upstream's time. */
const isFull = process.env.CHAOS_ROUNDS !== undefined;
const ttlSeconds = isFull ? 15 : 2;
const clients = 8;

const databases = Object.entries(boardDatabases).filter(([name]) => isFull || name !== 'PostgreSQL');

/** Whether somebody listens. */
async function accepts(port: number): Promise<boolean> {
  const socket = connect(port, '127.0.0.1');
  try {
    await once(socket, 'connect');
    return true;
  } catch {
    return false;
  } finally {
    socket.destroy();
  }
}

for (const [name, databaseIn] of databases) {
  describe(`two boards on one database, ${name}`, function () {
    this.timeout((ttlSeconds * 4 + 60) * 1000);
    let directory: string;
    let active: BbsProgram;
    let passive: BbsProgram;
    let load: BoardLoad;

    before(async () => {
      directory = await mkdtemp(join(tmpdir(), 'bbs-pair-'));
      const config = { ...(await databaseIn(directory)), lock_ttl: `${ttlSeconds}s` };
      active = await BbsProgram.create({ directory, uuid: 'board-1', config });
      passive = await BbsProgram.create({ directory, uuid: 'board-2', config });
      load = new BoardLoad(clients);
      await active.start();
    });

    after(async () => {
      await Promise.all([active, passive].map((program) => program?.dispose()));
      await rm(directory, { recursive: true, force: true });
    });

    beforeEach(async () => {
      passive.launch();
      await eventually(async () => (await passive.healthStatus()) === 200 || undefined, { what: 'a passive board' });
    });

    /** Those that have changed places. */
    function swap(): void {
      [active, passive] = [passive, active];
    }

    /** Clients work at the active board while something is done to it, and after that they find all at the other one. */
    async function takeOver(act: () => void, timeoutMs: number): Promise<void> {
      let isOver = false;
      const acknowledged = load.acknowledged;
      const working = load.run(active.client, { isOver: () => isOver });
      await eventually(() => load.acknowledged > acknowledged + 50 || undefined, { what: 'work' });
      const begun = performance.now();
      act();
      await passive.serving(timeoutMs);
      if (isFull) console.log(`      ${Math.round(performance.now() - begun)} ms`);
      isOver = true;
      swap();
      await settleAfter(working);
    }

    /** A paused board answers nobody: whoever waits for it gives up. */
    async function settleAfter(working: Promise<void>): Promise<void> {
      passive.renewClient();
      await working;
      await load.settle(active.client);
    }

    it('let one serve; the other refuses connections, and its health port answers', async () => {
      expect(await accepts(passive.ports.api)).to.equal(false);
      expect(await passive.healthStatus('/')).to.equal(200);
      expect(await passive.healthStatus('/ready')).to.equal(503);
      expect(await active.healthStatus('/ready')).to.equal(200);
      await passive.end('SIGTERM');
    });

    it('change places at once after SIGTERM; streams end properly, calls are answered, and the status is 0', async () => {
      const stream = await RawEventStream.open(active.url, '/v1/events/tasks.r1');
      await takeOver(() => active.signal('SIGTERM'), ttlSeconds * 750);
      expect(await stream.ended).to.equal('last chunk');
      expect(await passive.ended()).to.deep.equal({ status: 0, signal: null, stderr: '' });
    });

    it('change places after kill -9 when the lock is over, and lose nothing', async () => {
      await takeOver(() => active.signal('SIGKILL'), (ttlSeconds + 2) * 1000);
      await passive.ended();
    });

    it('change places when one is paused; that one then writes nothing, ends streams and itself, with status 1', async () => {
      const stream = await RawEventStream.open(active.url, '/v1/events/tasks.r1');
      // A commit in a SQLite file that is stopped in its midst keeps everybody out for as long.
      if (name === 'SQLite') {
        active.signal('SIGSTOP');
        await passive.serving((ttlSeconds + 2) * 1000);
        swap();
      } else await takeOver(() => active.signal('SIGSTOP'), (ttlSeconds + 2) * 1000);
      const late = { taskGuid: 'late', domain: 'load', taskDefinition: sampleTaskDefinition() };
      const answer = passive.client.call('DesireTask', late).then(
        () => 'acknowledged',
        () => 'refused',
      );
      await load.runFor(active.client, 100);
      passive.signal('SIGCONT');
      expect((await passive.ended()).status).to.equal(1);
      expect(await stream.ended).to.equal('last chunk');
      expect(await answer).to.equal('refused');
      await load.settle(active.client);
    });
  });
}
