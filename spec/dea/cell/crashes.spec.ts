import { mkdir, readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { expect } from 'chai';
import { runCommand } from '../../../lib/process/command.js';
import { AppRunner } from '../../support/app-runner.js';
import { type BlobServer, startBlobServer } from '../../support/blob-server.js';
import { type Cell, makeCell } from '../../support/cell.js';
import { eventually } from '../../support/eventually.js';
import { containersIn } from '../../support/leaks.js';
import { startNats } from '../../support/nats.js';
import { Peer } from '../../support/peer.js';

/** Numbers in titles are those of docs/protocol/dea.md §25. */
describe('the crashes that a cell keeps', function () {
  this.timeout(90_000);
  let nats: Awaited<ReturnType<typeof startNats>>;
  let blobs: BlobServer;
  let peer: Peer;
  let cell: Cell;
  let cellId: string;
  let apps: AppRunner;

  beforeEach(async () => {
    nats = await startNats();
    blobs = await startBlobServer();
    peer = await Peer.connect(nats.url);
    apps = await AppRunner.create(peer, blobs);
  });

  afterEach(async () => {
    await cell?.dispose();
    await peer?.close();
    await blobs?.stop();
    await nats?.stop();
  });

  const directory = () => join(cell.baseDirectory, 'base/crashes');
  const kept = async () => (await readdir(directory())).filter((name) => name !== 'lost+found').sort();

  /** Starts an app that crashes; gives its instance's id once its logs are kept. */
  async function crash(overrides: Record<string, unknown> = {}): Promise<string> {
    const mark = peer.mark;
    const { droplet: app } = apps.start(cellId, { start_command: 'exit 1', ...overrides });
    const { instance } = await peer.next('droplet.exited', (data) => data.droplet === app, {
      since: mark,
      timeoutMs: 20_000,
    });
    // Its container is destroyed after its logs were copied.
    const depot = join(cell.baseDirectory, 'base/depot');
    await eventually(() => (containersIn(depot).includes(instance) ? undefined : true), {
      what: 'the end of its container',
    });
    return instance;
  }

  it('38: are only the newest one of an app, and none once its lifetime is over', async () => {
    cell = await makeCell({ natsUrl: nats.url, config: { crash_lifetime_secs: 14 } });
    await cell.start();
    cellId = await peer.cellId();
    const droplet = 'an-app-that-crashes';
    const ids = [await crash({ droplet }), await crash({ droplet }), await crash({ droplet })];
    await eventually(async () => ((await kept()).join() === ids[2] ? true : undefined), {
      timeoutMs: 20_000,
      what: 'one crash',
    });
    expect(await apps.find(droplet)).to.include({ instance: ids[2], state: 'CRASHED' });
    await eventually(async () => ((await kept()).length === 0 ? true : undefined), {
      timeoutMs: 40_000,
      what: 'no crash',
    });
    expect(await apps.find(droplet)).to.equal(undefined);
    const reasons = cell.logs.filter(({ message }) => message === 'crash.reaped').map(({ data }) => data.reason);
    expect(reasons).to.deep.equal(['stale', 'stale', 'stale']);
    const offer = await peer.next('dea.advertise', () => true, { since: peer.mark });
    expect(offer).to.include({ available_memory: 4096, available_disk: 16384 });
  });

  it('38: are not those of instances that nobody knows', async () => {
    cell = await makeCell({ natsUrl: nats.url });
    await mkdir(join(directory(), 'nobodys/logs'), { recursive: true });
    await cell.start();
    cellId = await peer.cellId();
    await eventually(async () => ((await kept()).length === 0 ? true : undefined), {
      timeoutMs: 20_000,
      what: 'no crash',
    });
  });

  async function expectOldestToGo(ids: string[]): Promise<void> {
    await eventually(async () => ((await kept()).join() === ids.slice(1).sort().join() ? true : undefined), {
      timeoutMs: 25_000,
      what: 'the end of the oldest crash alone',
    });
    const reaped = cell.logs.filter(({ message }) => message === 'crash.reaped').map(({ data }) => data);
    expect(reaped).to.have.lengthOf(1);
    expect(reaped[0]).to.include({ instance: ids[0], reason: 'disk pressure' });
  }

  it('are removed oldest first while they and others have reserved too much of the disk', async () => {
    const resources = { memory_mb: 4096, disk_mb: 1000 };
    cell = await makeCell({ natsUrl: nats.url, config: { resources, crash_block_usage_ratio_threshold: 0.3 } });
    await cell.start();
    cellId = await peer.cellId();
    // 128 MB each.
    await expectOldestToGo([await crash(), await crash(), await crash()]);
    const offer = await peer.next('dea.advertise', () => true, { since: peer.mark });
    expect(offer.available_disk).to.equal(1000 - 2 * 128);
  });

  it('are not what becomes of an instance whose stop was lost and that a newer one has superseded: it is stopped', async () => {
    cell = await makeCell({ natsUrl: nats.url, config: { instance: { superseded_after_secs: 1 } } });
    await cell.start();
    cellId = await peer.cellId();
    const droplet = 'an-app-that-was-restarted';
    const older = await apps.startAndWait(cellId, { droplet });
    apps.start(cellId, { droplet, version: 'another' });
    const newer = await eventually(() => apps.find(droplet, { version: 'another', states: ['RUNNING'] }));
    await eventually(
      async () => ((await apps.find(droplet, { instances: [older.found.instance] })) ? undefined : true),
      {
        timeoutMs: 25_000,
        what: 'the end of the older one',
      },
    );
    expect(await apps.find(droplet)).to.include({ instance: newer.instance, state: 'RUNNING' });
    expect(peer.all('droplet.exited', { droplet })).to.deep.equal([]);
  });

  describe('on a small disk', () => {
    let image: string;

    /** A file system of its own below the directory of crashes. */
    async function startCellOn(options: string[], config: Record<string, unknown>): Promise<void> {
      cell = await makeCell({ natsUrl: nats.url, config });
      image = join(cell.baseDirectory, 'crashes.img');
      await mkdir(directory(), { recursive: true });
      await runCommand('truncate', ['-s', '16M', image]);
      await runCommand('mkfs.ext4', ['-q', '-m', '0', '-O', '^has_journal', ...options, image]);
      await runCommand('mount', ['-o', 'loop', image, directory()]);
      await cell.start();
      cellId = await peer.cellId();
    }

    afterEach(async () => {
      await cell.terminate();
      await runCommand('umount', [directory()]);
      await rm(image);
    });

    it('are removed oldest first while too many blocks are in use', async () => {
      await startCellOn([], { crash_block_usage_ratio_threshold: 0.6 });
      const start_command = 'head -c 4000000 /dev/zero > ../logs/big.log; exit 1';
      await expectOldestToGo([
        await crash({ start_command }),
        await crash({ start_command }),
        await crash({ start_command }),
      ]);
    });

    it('are removed oldest first while too many inodes are in use', async () => {
      await startCellOn(['-N', '256'], { crash_inode_usage_ratio_threshold: 0.6 });
      const start_command = 'for i in $(seq 60); do echo > ../logs/$i.log; done; exit 1';
      await expectOldestToGo([
        await crash({ start_command }),
        await crash({ start_command }),
        await crash({ start_command }),
      ]);
    });
  });
});
