import { mkdir, mkdtemp, open, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect } from 'chai';
import { runCommand } from '../../../lib/process/command.js';
import { type BlobServer, sha1, startBlobServer } from '../../support/blob-server.js';
import { type Cell, makeCell } from '../../support/cell.js';
import { makeDroplet } from '../../support/droplets.js';
import { eventually } from '../../support/eventually.js';
import { startNats } from '../../support/nats.js';
import { Peer } from '../../support/peer.js';
import { startMessage } from '../../support/start-message.js';

describe('a cell whose disk is full', function () {
  this.timeout(60_000);
  let nats: Awaited<ReturnType<typeof startNats>>;
  let blobs: BlobServer;
  let peer: Peer;
  let cell: Cell;
  let base: string;
  let depot: string;

  beforeEach(async () => {
    nats = await startNats();
    blobs = await startBlobServer();
    peer = await Peer.connect(nats.url);
    depot = await mkdtemp(join(tmpdir(), 'depot-'));
    cell = await makeCell({ natsUrl: nats.url, config: { containers: { depot_dir: depot } } });
    base = join(cell.baseDirectory, 'base');
    await mkdir(base);
    await runCommand('mount', ['-t', 'tmpfs', '-o', 'size=2m', 'full-disk-spec', base]);
    await cell.start();
  });

  afterEach(async () => {
    await cell.terminate();
    await runCommand('umount', [base]);
    await rm(cell.baseDirectory, { recursive: true });
    await rm(depot, { recursive: true, force: true });
    await peer.close();
    await blobs.stop();
    await nats.stop();
  });

  /** Writes until there is no room for another byte, nor any that a file gives back while the cell replaces it. */
  async function fill(): Promise<string> {
    const path = join(base, 'filler');
    const filler = await open(path, 'w');
    try {
      for (let refusals = 0; refusals < 5; ) {
        try {
          await filler.write(Buffer.alloc(4096));
          refusals = 0;
        } catch (error) {
          expect((error as NodeJS.ErrnoException).code).to.equal('ENOSPC');
          refusals += 1;
          await sleep(50);
        }
      }
    } finally {
      await filler.close();
    }
    return path;
  }

  it('refuses starts and stagings with the reason, keeps its apps, and recovers with the disk', async () => {
    const droplet = await makeDroplet();
    const common = { sha1: sha1(droplet), executableUri: blobs.put('/droplet', droplet) };
    const id = await peer.cellId();
    const running = startMessage(common);
    peer.publish(`dea.${id}.start`, running);
    const route = await peer.next('router.register', (data) => data.app === running.droplet, { timeoutMs: 20_000 });

    const filler = await fill();
    const refused = startMessage(common);
    peer.publish(`dea.${id}.start`, refused);
    const exited = await peer.next('droplet.exited', (data) => data.droplet === refused.droplet);
    expect(exited).to.include({ exit_description: 'failed to start', exit_status: -1 });
    const [reply] = await peer.request(`staging.${id}.start`, {
      app_id: 'a',
      task_id: 't',
      properties: {},
      download_uri: 'http://127.0.0.1:1/x',
      upload_uri: 'http://127.0.0.1:1/x',
    });
    expect(reply!.error).to.contain('ENOSPC');
    expect(await (await fetch(`http://${route.host}:${route.port}/hello`)).text()).to.equal('hello from 0');
    const offer = await peer.next('dea.advertise', () => true, { since: peer.mark });
    expect(offer.available_memory).to.equal(4096 - 64);

    await rm(filler);
    const later = startMessage(common);
    peer.publish(`dea.${id}.start`, later);
    await peer.next('router.register', (data) => data.app === later.droplet, { timeoutMs: 20_000 });
    await eventually(async () => {
      const { instances } = await cell.snapshot();
      return instances.filter(({ state }) => state === 'RUNNING').length === 2 ? true : undefined;
    });
  });
});
