import { existsSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { AppRunner, askApp } from '../../support/app-runner.js';
import { type BlobServer, startBlobServer } from '../../support/blob-server.js';
import { type Cell, makeCell } from '../../support/cell.js';
import { eventually } from '../../support/eventually.js';
import { expectNothingLeft } from '../../support/leaks.js';
import { startNats } from '../../support/nats.js';
import { Peer } from '../../support/peer.js';

/** Numbers in titles are those of docs/protocol/dea.md §25. */
describe('the end of a cell', function () {
  this.timeout(120_000);
  let nats: Awaited<ReturnType<typeof startNats>>;
  let blobs: BlobServer;
  let peer: Peer;
  let cell: Cell;
  let cellId: string;
  let apps: AppRunner;
  let hooks: string;

  beforeEach(async () => {
    nats = await startNats();
    blobs = await startBlobServer();
    peer = await Peer.connect(nats.url);
    apps = await AppRunner.create(peer, blobs);
    hooks = await mkdtemp(join(tmpdir(), 'shutdown-hooks-'));
  });

  afterEach(async () => {
    await cell?.dispose();
    await peer?.close();
    await blobs?.stop();
    await nats?.stop();
    await rm(hooks, { recursive: true });
  });

  async function startCell(config: Record<string, unknown> = {}): Promise<void> {
    cell = await makeCell({ natsUrl: nats.url, config });
    await cell.start();
    cellId = await peer.cellId();
  }

  for (const signal of ['SIGINT', 'SIGQUIT'] as const) {
    it(`27: comes in order on ${signal}, also when the signal comes twice`, async () => {
      await startCell();
      await apps.startAndWait(cellId);
      const mark = peer.mark;
      cell.signal(signal);
      cell.signal(signal);
      expect(await cell.exited).to.equal(0);
      expect(peer.received.slice(mark).filter(({ subject }) => subject === 'dea.shutdown')).to.have.lengthOf(1);
      expect(existsSync(cell.pidFile)).to.equal(false);
      await expectNothingLeft(join(cell.baseDirectory, 'base/depot'));
    });
  }

  it('is not held up by an app whose hook hangs: the others stop, and that one is ended by force', async () => {
    const hook = join(hooks, 'before_stop.sh');
    await writeFile(hook, '[ "$HANGS" != 1 ] || sleep 1000');
    await startCell({ hooks: { before_stop: hook } });
    const stuck = await apps.startAndWait(cellId, { env: ['HANGS=1'] });
    const other = await apps.startAndWait(cellId);
    const began = Date.now();
    cell.signal('SIGTERM');
    await eventually(async () => {
      const { instances } = await cell.snapshot();
      return instances.every(({ application_id: app }) => app === stuck.app) || undefined;
    });
    expect(Date.now() - began, 'the other app').to.be.below(15_000);
    await askApp(other.found, '/hello').then(
      () => expect.fail('the other app answers'),
      () => {},
    );
    expect(await cell.exited).to.equal(0);
    expect(Date.now() - began, 'all').to.be.within(20_000, 45_000);
    await expectNothingLeft(join(cell.baseDirectory, 'base/depot'));
    expect((await cell.snapshot()).instances).to.deep.equal([]);
  });

  it('is not held up by a bus that hangs', async () => {
    await startCell();
    await apps.startAndWait(cellId);
    nats.pause();
    try {
      const began = Date.now();
      expect(await cell.terminate()).to.equal(0);
      expect(Date.now() - began).to.be.below(20_000);
      expect(existsSync(cell.pidFile)).to.equal(false);
      await expectNothingLeft(join(cell.baseDirectory, 'base/depot'));
    } finally {
      nats.resume();
    }
  });

  it('28: leaves the cell on USR1 running, but not on TERM after it', async () => {
    await startCell();
    const { found } = await apps.startAndWait(cellId);
    const mark = peer.mark;
    cell.signal('SIGUSR1');
    await peer.next('dea.shutdown', () => true, { since: mark });
    expect(await askApp(found, '/hello')).to.equal('hello from 0');
    expect(await cell.terminate()).to.equal(0);
    expect(peer.received.slice(mark).filter(({ subject }) => subject === 'dea.advertise')).to.deep.equal([]);
  });

  it('tells peers of before December 2013 of its apps as DEA_SHUTDOWN, and of those stopped before as STOPPED', async () => {
    await startCell({ legacy_protocols: ['dea.heartbeat', 'droplet.exited.shutdown', 'droplet.exited.stopped'] });
    const [first, second] = [await apps.startAndWait(cellId), await apps.startAndWait(cellId)];
    apps.stop(first.app);
    const stopped = await peer.next('droplet.exited', (data) => data.droplet === first.app);
    expect(stopped).to.include({ reason: 'STOPPED' }).and.not.to.have.property('crash_timestamp');
    expect(await cell.terminate()).to.equal(0);
    const exits = peer.all('droplet.exited', { droplet: second.app }).map(({ data }) => data.reason);
    expect(exits).to.deep.equal(['DEA_SHUTDOWN']);
    expect(peer.all('droplet.exited')).to.have.lengthOf(2);
  });

  it('takes routes away twice, a second apart', async () => {
    await startCell();
    const { app, found } = await apps.startAndWait(cellId);
    apps.stop(app);
    await eventually(() => (peer.all('router.unregister', { app }).length === 2 ? true : undefined));
    const [first, second] = peer.all('router.unregister', { app });
    expect(second!.data).to.deep.equal(first!.data);
    expect(first!.data).to.include({ port: found.stats.port });
    expect(second!.at - first!.at).to.be.within(900, 3_000);
  });

  it('leaves a stopped app its drain delay between the end of its route and TERM', async () => {
    await startCell({ instance: { drain_delay_secs: 3 } });
    const { app, found } = await apps.startAndWait(cellId);
    const mark = peer.mark;
    apps.stop(app);
    await peer.next('router.unregister', (data) => data.app === app, { since: mark });
    const routeEnded = Date.now();
    expect(await askApp(found, '/hello')).to.equal('hello from 0');
    await eventually(() =>
      askApp(found, '/hello').then(
        () => undefined,
        () => true,
      ),
    );
    expect(Date.now() - routeEnded).to.be.at.least(2_800);
    expect(
      peer.received.slice(mark).filter(({ subject, data }) => subject === 'router.register' && data.app === app),
    ).to.deep.equal([]);
  });
});
