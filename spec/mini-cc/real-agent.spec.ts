import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { writeTargetFile } from '../../lib/config/target-file.js';
import { type Cell, makeCell } from '../support/cell.js';
import { type Run, runIsthmus } from '../support/cli.js';
import { eventually } from '../support/eventually.js';
import { containersIn } from '../support/leaks.js';
import { clientToken, type RunningMiniCc, startMiniCc } from '../support/mini-cc.js';
import { freeTcpPort } from '../support/nats.js';
import type { Message } from '../support/peer.js';
import { ask, RouterRig } from '../support/router.js';
import { type WatchingHealthManager, watchOver } from '../support/watching-health-manager.js';

const host = 'shop.example.com';

/** Row 40 of docs/protocol/legacy-cc.md §13: the command line, and nothing played. */
describe('an app from its push to its end, on a real cell', function () {
  this.timeout(120_000);
  let rig: RouterRig;
  let cell: Cell;
  let cc: RunningMiniCc;
  let health: WatchingHealthManager;
  let home: string;

  before(async () => {
    rig = await RouterRig.start();
    const healthPort = await freeTcpPort();
    cc = await startMiniCc({
      natsUrl: rig.nats.url,
      config: {
        domain: 'example.com',
        hm9000: { url: `http://127.0.0.1:${healthPort}` },
        buildpacks: [{ name: 'procfile', path: 'spec/fixtures/buildpacks/procfile-buildpack' }],
        staging: { timeout_in_seconds: 60, minimum_staging_memory_mb: 256, minimum_staging_disk_mb: 512 },
      },
    });
    health = await watchOver({ natsPort: rig.nats.port, controllerUrl: cc.url, apiPort: healthPort });
    cell = await makeCell({ natsUrl: rig.nats.url, config: { local_ip: '127.0.0.1', containers: { spares: 0 } } });
    await cell.start();
    await eventually(() => (cc.miniCc.cellIds.length === 1 ? true : undefined), { what: 'the cell' });
    home = await mkdtemp(join(tmpdir(), 'real-agent-'));
    const router = `http://127.0.0.1:${rig.router.port}`;
    await writeTargetFile({ url: cc.url, token: clientToken, router }, join(home, '.isthmus/target.json'));
  });

  after(async () => {
    await health?.stop();
    await cc?.stop();
    await cell?.dispose();
    await rig?.stop();
    if (home) await rm(home, { recursive: true, force: true });
  });

  const isthmus = (...args: string[]) => runIsthmus(home, args);
  async function done(...args: string[]): Promise<Run> {
    const run = await isthmus(...args);
    expect({ status: run.status, error: run.error }, args.join(' ')).to.deep.equal({ status: 0, error: '' });
    return run;
  }
  const running = async (): Promise<Message[]> => {
    const { guid } = (await cc.call('GET', '/v2/apps?name=shop')).body.resources[0];
    const question = { droplet: guid, states: ['RUNNING'] };
    const found = await rig.peer.request('dea.find.droplet', question, { count: 9, timeoutMs: 250 });
    return found.sort((a, b) => a.index - b.index);
  };
  const containers = () => containersIn(join(cell.baseDirectory, 'base/depot'));
  const answer = async () => JSON.parse((await ask(rig.router.port, '/', { host })).body) as Message;

  it('is pushed, looked at, scaled, killed, staged anew and deleted, and leaves nothing behind', async () => {
    await done('push', 'shop', 'spec/fixtures/apps/procfile', '-m', '64M', '-k', '128M');
    expect(await answer()).to.have.property('pid');

    expect((await done('stats', 'shop')).out).to.match(/^#0 +running +up \d+s .* of 64M/m);
    expect((await done('files', 'shop')).out).to.match(/^app\/ +-$/m);
    expect((await done('files', 'shop', 'app/Procfile')).out).to.match(/^web: /);
    expect((await isthmus('files', 'shop', 'app/nothing')).status).to.equal(1);

    await done('scale', 'shop', '-i', '3');
    expect((await running()).map(({ index }) => index)).to.deep.equal([0, 1, 2]);
    expect(containers()).to.have.length(3);

    const [first] = await running();
    await eventually(async () => ((await health.store.freshness()).isActualFresh ? true : undefined), {
      what: 'freshness',
    });
    await done('kill', 'shop', '0');
    await eventually(
      async () => {
        const [again, ...others] = await running();
        return (others.length === 2 && again!.instance !== first!.instance) || undefined;
      },
      { what: 'another instance in the place of the killed one', timeoutMs: 30_000 },
    );

    const before = new Set((await running()).map(({ instance }) => instance));
    await done('restage', 'shop');
    const after = await running();
    expect(after).to.have.length(3);
    expect(after.filter(({ instance }) => before.has(instance))).to.deep.equal([]);

    await done('delete', 'shop', '-f');
    await eventually(() => (containers().length === 0 ? true : undefined), {
      what: 'no containers',
      timeoutMs: 30_000,
    });
    await eventually(async () => ((await rig.routes())[host] === undefined ? true : undefined), { what: 'no route' });
    const since = rig.peer.mark;
    await rig.peer.next('dea.heartbeat', ({ droplets }) => droplets.length === 0, { since, timeoutMs: 20_000 });
    expect((await ask(rig.router.port, '/', { host })).status).to.equal(404);
  });
});
