import { existsSync } from 'node:fs';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { expect } from 'chai';
import { type BlobServer, sha1, startBlobServer } from '../../support/blob-server.js';
import { type Cell, makeCell } from '../../support/cell.js';
import { makeDroplet } from '../../support/droplets.js';
import { eventually } from '../../support/eventually.js';
import { containersIn, expectNothingLeft, thingsOfEngine } from '../../support/leaks.js';
import { startNats } from '../../support/nats.js';
import { type Message, Peer } from '../../support/peer.js';
import { startMessage } from '../../support/start-message.js';
import { zipDirectory } from '../../support/zip.js';

/** Moments of `kill -9` in the short run; `CHAOS_ROUNDS` makes it longer (`npm run chaos`). */
const rounds = Number(process.env.CHAOS_ROUNDS ?? 2);

describe('what a cell leaves on its host', function () {
  this.timeout(Math.max(120_000, rounds * 15_000));
  let nats: Awaited<ReturnType<typeof startNats>>;
  let blobs: BlobServer;
  let peer: Peer;
  let cell: Cell;
  let droplet: Buffer;
  let packageUrl: string;
  let buildpack: Message;

  before(async () => {
    nats = await startNats();
    blobs = await startBlobServer();
    droplet = await makeDroplet();
    packageUrl = blobs.put('/package.zip', await zipDirectory('spec/fixtures/apps/static'));
    const pack = await zipDirectory('spec/fixtures/buildpacks/static-buildpack');
    buildpack = { key: 'static', url: blobs.put('/static.zip', pack) };
  });

  after(async () => {
    await blobs?.stop();
    await nats?.stop();
  });

  beforeEach(async () => {
    peer = await Peer.connect(nats.url);
    cell = await makeCell({ natsUrl: nats.url });
    await cell.start();
  });

  afterEach(async () => {
    await cell.dispose();
    await peer.close();
  });

  const depot = () => join(cell.baseDirectory, 'base/depot');

  /** Apps that run, that start, that crash, and a staging. */
  function makeWork(id: string): Message[] {
    const common = { sha1: sha1(droplet), executableUri: blobs.put('/droplet', droplet) };
    const apps = [
      startMessage(common),
      startMessage({ ...common, uris: [] }),
      startMessage({ ...common, start_command: 'exit 1' }),
      startMessage({ ...common, start_command: 'sleep 30', health_check_timeout: 30 }),
    ];
    for (const app of apps) peer.publish(`dea.${id}.start`, app);
    const task = `task${Math.random()}`;
    peer.publish(`staging.${id}.start`, {
      app_id: task,
      task_id: task,
      properties: { services: [], environment: [], meta: {} },
      download_uri: packageUrl,
      upload_uri: `${blobs.urlWithCredentials}/staging/droplets/${task}/upload`,
      start_message: startMessage({ droplet: task, sha1: null, executableUri: null }),
      admin_buildpacks: [buildpack],
    });
    return apps;
  }

  async function expectCleanStop(): Promise<void> {
    expect(await cell.terminate()).to.equal(0);
    await expectNothingLeft(depot());
    expect(existsSync(cell.pidFile)).to.equal(false);
    const base = join(cell.baseDirectory, 'base');
    for (const name of ['staging', 'tmp', 'droplets', 'instances']) {
      expect(await readdir(join(base, name)), name).to.deep.equal([]);
    }
    expect((await readdir(join(base, 'db'))).sort()).to.deep.equal(['instances.json', 'ledger.json']);
    expect((await cell.snapshot()).staging_tasks).to.deep.equal([]);
  }

  it('is nothing after TERM, whatever was going on', async () => {
    const [app] = makeWork(await peer.cellId());
    await peer.next('router.register', (data) => data.app === app!.droplet, { timeoutMs: 20_000 });
    expect(Object.values(thingsOfEngine(depot())).every((things) => things.length > 0)).to.equal(true);
    await expectCleanStop();
  });

  it('is nothing after a kill, a start and a stop', async () => {
    const [app] = makeWork(await peer.cellId());
    await peer.next('router.register', (data) => data.app === app!.droplet, { timeoutMs: 20_000 });
    await cell.kill();
    await cell.start();
    await expectCleanStop();
  });

  it('is right after a kill at any moment of staging and starting: the ledger, and what runs', async () => {
    for (let round = 0; round < rounds; round += 1) {
      const mark = peer.mark;
      const { id } = await peer.next('dea.advertise', () => true, { since: mark });
      makeWork(id);
      await delay(Math.random() * 1500);
      await cell.kill();
      await cell.start();
      await expectConsistent();
      for (const { application_id: droplet } of (await cell.snapshot()).instances)
        peer.publish('dea.stop', { droplet });
      await eventually(
        async () => (await cell.snapshot()).instances.every(({ state }) => state === 'CRASHED') || undefined,
      );
    }
    await expectCleanStop();
  });

  /** After a restart each container belongs to an instance, and the offer is what is left beside the instances. */
  async function expectConsistent(): Promise<void> {
    await eventually(async () => {
      const { instances } = await cell.snapshot();
      const living = instances.filter(({ state }) => state === 'RUNNING');
      expect(containersIn(depot())).to.have.members(living.map(({ warden_handle }) => warden_handle as string));
      const mark = peer.mark;
      const offer = await peer.next('dea.advertise', () => true, { since: mark });
      expect(offer.available_memory).to.equal(4096 - living.length * 64);
      expect(offer.available_disk).to.equal(16384 - instances.length * 128);
      return true;
    });
  }
});
