import { existsSync } from 'node:fs';
import { cp, mkdtemp, rm, symlink } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { expect } from 'chai';
import { AppRunner } from '../../support/app-runner.js';
import { type BlobServer, startBlobServer } from '../../support/blob-server.js';
import { type Cell, makeCell } from '../../support/cell.js';
import { eventually } from '../../support/eventually.js';
import type { Message } from '../../support/peer.js';
import { RequestLoad } from '../../support/request-load.js';
import { RouterRig } from '../../support/router.js';

const host = 'web.example.com';
const perSecond = 200;

/** Requests through a real router, all the time, and what becomes of them. */
describe('an app that is asked 200 times a second', function () {
  this.timeout(180_000);
  let rig: RouterRig;
  let blobs: BlobServer;
  let apps: AppRunner;
  let load: RequestLoad | undefined;
  const cells: Cell[] = [];

  beforeEach(async () => {
    rig = await RouterRig.start();
    blobs = await startBlobServer();
    apps = await AppRunner.create(rig.peer, blobs);
  });

  afterEach(async () => {
    await load?.stop();
    load = undefined;
    for (const cell of cells.splice(0)) await cell.dispose();
    await blobs?.stop();
    await rig?.stop();
  });

  async function startCell(config: Record<string, unknown> = {}): Promise<{ cell: Cell; id: string }> {
    const cell = await makeCell({ natsUrl: rig.nats.url, config });
    cells.push(cell);
    await cell.start();
    const started = cell.logs.find(({ message }) => message === 'Dea started');
    return { cell, id: started!.data.uuid as string };
  }

  /** Begins to ask once the router knows the app. */
  async function beginLoad(): Promise<RequestLoad> {
    await eventually(async () => ((await rig.routes())[host]?.length ? true : undefined));
    load = new RequestLoad({
      port: rig.router.port,
      host,
      path: '/hello',
      perSecond,
      accept: (status, body) => status === 200 && body.startsWith('hello from '),
    });
    return load;
  }

  const answeredMore = (running: RequestLoad, count: number) => {
    const wanted = running.answered + count;
    return eventually(() => (running.answered >= wanted ? true : undefined), { timeoutMs: 60_000 });
  };

  async function expectNoneLost(running: RequestLoad): Promise<void> {
    await running.stop();
    console.log(`      ${running.sent} requests, ${running.failures.length} lost`);
    expect(running.failures.slice(0, 5)).to.deep.equal([]);
    expect(running.answered).to.equal(running.sent);
  }

  /** What a new version's directory holds, with everything in it but the packages. */
  async function copyOfBuild(): Promise<string> {
    const checkout = await mkdtemp(join(tmpdir(), 'upgrade-'));
    for (const name of ['bin', 'dist', 'package.json']) await cp(name, join(checkout, name), { recursive: true });
    await symlink(resolve('node_modules'), join(checkout, 'node_modules'));
    return checkout;
  }

  it('loses none while its cell is killed, started, and replaced by one from another directory', async () => {
    const { cell, id } = await startCell();
    const { app, found } = await apps.startAndWait(id);
    const running = await beginLoad();
    await answeredMore(running, 2 * perSecond);
    await cell.kill();
    await answeredMore(running, 2 * perSecond);
    await cell.start();
    expect(await apps.waitFor(app, 'RUNNING')).to.include({ instance: found.instance });
    await answeredMore(running, 2 * perSecond);

    const checkout = await copyOfBuild();
    try {
      await cell.kill();
      await cell.start({ checkout });
      expect(await apps.waitFor(app, 'RUNNING')).to.include({ instance: found.instance });
      await answeredMore(running, 2 * perSecond);
      await expectNoneLost(running);
      expect(running.sent).to.be.above(8 * perSecond);
      // Stopped while its files are still there.
      expect(await cell.terminate()).to.equal(0);
    } finally {
      await rm(checkout, { recursive: true });
    }
  });

  it('loses none while it moves to another cell, whose instance is started when the first is EVACUATING', async () => {
    const old = await startCell({ instance: { drain_delay_secs: 1 } });
    const { app, message, found } = await apps.startAndWait(old.id);
    const running = await beginLoad();
    const next = await startCell();
    await answeredMore(running, 2 * perSecond);
    const reports = (agent: string, state: string) => (beat: Message) =>
      beat.dea === agent && beat.droplets.some((entry: Message) => entry.droplet === app && entry.state === state);

    const mark = rig.peer.mark;
    old.cell.signal('SIGUSR2');
    await rig.peer.next('dea.heartbeat', reports(old.id, 'EVACUATING'), { since: mark });
    rig.peer.publish(`dea.${next.id}.start`, message);
    await rig.peer.next('dea.heartbeat', reports(next.id, 'RUNNING'), { since: mark, timeoutMs: 30_000 });
    apps.stop(app, { instances: [found.instance] });
    await eventually(() => (existsSync(old.cell.pidFile) ? undefined : true), { timeoutMs: 20_000, what: 'its end' });
    expect(await old.cell.exited).to.equal(0);
    await answeredMore(running, 2 * perSecond);
    await expectNoneLost(running);
    const [moved] = await rig.peer.request('dea.find.droplet', { droplet: app }, { count: 2 });
    expect(moved).to.include({ dea: next.id, state: 'RUNNING' });
  });
});
