import { expect } from 'chai';
import { askApp } from '../../support/app-runner.js';
import { type Cell, makeCell } from '../../support/cell.js';
import { eventually } from '../../support/eventually.js';
import { type RunningMiniCc, startMiniCc } from '../../support/mini-cc.js';
import { freeTcpPort, type NatsServer, startNats } from '../../support/nats.js';
import { type Message, Peer, type Received } from '../../support/peer.js';
import { type WatchingHealthManager, watchOver } from '../../support/watching-health-manager.js';

/**
 * The whole circle with nothing played: a message bus, a Cloud Controller, a health manager and two cells. The steps
 * build on each other, as the days of an installation do.
 */
describe('apps on two cells, watched by a health manager', function () {
  this.timeout(120_000);
  let nats: NatsServer;
  let peer: Peer;
  let cc: RunningMiniCc;
  let health: WatchingHealthManager;
  let cells: [Cell, Cell];
  let shop: string;
  let crashing: string;
  let controllerPort: number;
  let healthPort: number;

  before(async () => {
    nats = await startNats();
    [controllerPort, healthPort] = [await freeTcpPort(), await freeTcpPort()];
    peer = await Peer.connect(nats.url);
    cc = await startController();
    health = await watchOver({ natsPort: nats.port, controllerUrl: cc.url, apiPort: healthPort });
    cells = await Promise.all([
      makeCell({ natsUrl: nats.url, config: { index: 0 } }),
      makeCell({ natsUrl: nats.url, config: { index: 1 } }),
    ]);
    await Promise.all(cells.map((cell) => cell.start()));
    await eventually(() => (cc.miniCc.cellIds.length === 2 ? true : undefined), { what: 'both cells' });
    [crashing, shop] = (await Promise.all(['crashing', 'procfile'].map(push))) as [string, string];
    await untilRunning(shop, [0], 'the shop');
  });

  after(async () => {
    await health?.stop();
    await cc?.stop();
    await Promise.all((cells ?? []).map((cell) => cell.dispose()));
    await peer?.close();
    await nats?.stop();
  });

  const startController = (directory?: string) =>
    startMiniCc({
      natsUrl: nats.url,
      ...(directory !== undefined && { directory }),
      config: {
        external_port: controllerPort,
        dea_advertisement_timeout_in_seconds: 3,
        hm9000: { url: `http://127.0.0.1:${healthPort}` },
        buildpacks: [{ name: 'procfile', path: 'spec/fixtures/buildpacks/procfile-buildpack' }],
        staging: { timeout_in_seconds: 60, minimum_staging_memory_mb: 256, minimum_staging_disk_mb: 512 },
      },
    });

  async function push(name: string): Promise<string> {
    const limits = { memory: 64, disk_quota: 128 };
    const { guid } = (await cc.call('POST', '/v2/apps', { name, routes: [`${name}.example.com`], ...limits })).body;
    await cc.uploadBits(guid, `spec/fixtures/apps/${name}`);
    expect((await change(guid, { state: 'STARTED' })).status).to.equal(201);
    return guid;
  }

  const change = (guid: string, fields: Message) => cc.call('PUT', `/v2/apps/${guid}`, fields);
  /** What cells say of the running instances of an app, by index. */
  const running = async (app: string): Promise<Message[]> => {
    const question = { droplet: app, states: ['RUNNING'], include_stats: true };
    const found = await peer.request('dea.find.droplet', question, { count: 9, timeoutMs: 250 });
    return found.sort((a, b) => a.index - b.index);
  };
  const untilRunning = (app: string, indices: number[], what: string, fits = (_found: Message[]) => true) =>
    eventually(
      async () => {
        const found = await running(app);
        return String(found.map(({ index }) => index)) === String(indices) && fits(found) ? found : undefined;
      },
      { timeoutMs: 60_000, what },
    );
  /** The one instance of the shop. */
  const soleInstance = async () => (await untilRunning(shop, [0], 'the only instance'))[0]!;
  /** Start messages for an app since a point in time. */
  const starts = (app: string, since = 0): Received[] =>
    peer.received.filter(
      ({ subject, data, at }) => /^dea\.[^.]+\.start$/.test(subject) && data.droplet === app && at >= since,
    );
  const orders = (since: number): Received[] =>
    peer.received.filter(({ subject, at }) => subject.startsWith('hm9000.') && at >= since);
  const untilFresh = (wished: { actual: boolean; desired: boolean }) =>
    eventually(
      async () => {
        const { isActualFresh, isDesiredFresh } = await health.store.freshness();
        return (isActualFresh === wished.actual && isDesiredFresh === wished.desired) || undefined;
      },
      { timeoutMs: 20_000, what: `freshness ${JSON.stringify(wished)}` },
    );
  /** `kill -9` of an instance's process. */
  const kill = async (instance: Message): Promise<void> => void (await askApp(instance, '/signal?name=KILL'));

  it('are scaled from one to five and back, and the health manager, which learns of it later, does not meddle', async () => {
    await untilFresh({ actual: true, desired: true });
    await change(shop, { instances: 5 });
    const five = await untilRunning(shop, [0, 1, 2, 3, 4], 'five instances');
    expect(new Set(five.map(({ dea }) => dea)).size).to.equal(2);
    await eventually(
      async () => ((await cc.call('GET', `/v2/apps/${shop}`)).body.running_instances === 5 ? true : undefined),
      { what: 'the health manager’s count' },
    );
    await change(shop, { instances: 1 });
    const [left] = await untilRunning(shop, [0], 'one instance');
    expect(left!.instance).to.equal(five[0]!.instance);
    expect(starts(shop).map(({ data }) => data.index)).to.deep.equal([1, 2, 3, 4]);
  });

  it('are replaced after a kill -9 of their process, and the crash is told of', async () => {
    const before = await soleInstance();
    await kill(before);
    await untilRunning(shop, [0], 'another instance', ([found]) => found!.instance !== before.instance);
    const { resources } = (await cc.call('GET', `/v2/apps/${shop}/events`)).body;
    expect(resources.find(({ type }: Message) => type === 'app.crash').metadata.instance).to.equal(before.instance);
  });

  it('are replaced when their memory changes, which makes another version', async () => {
    const { version } = (await change(shop, { memory: 65 })).body;
    await untilRunning(shop, [0], 'the new version', ([found]) => found!.version === version);
  });

  it('run on, as another version, when a route is mapped', async () => {
    const pidOf = async (instance: Message) => JSON.parse(await askApp(instance, '/')).pid as string;
    const before = await soleInstance();
    const pid = await pidOf(before);
    const routes = ['procfile.example.com', 'second.example.com'];
    const { version } = (await change(shop, { routes })).body;
    const [after] = await untilRunning(shop, [0], 'the new version', ([found]) => found!.version === version);
    expect(after!.instance).not.to.equal(before.instance);
    const changedAt = Date.now();
    const heartbeats = () => peer.all('dea.heartbeat').filter(({ at }) => at >= changedAt);
    await eventually(() => (heartbeats().length >= 6 ? true : undefined), { what: 'three heartbeats of each cell' });
    expect(await pidOf(after!)).to.equal(pid);
  });

  it('that crash again and again are started at longer and longer intervals, and called flapping', async () => {
    const times = await eventually(
      () => {
        const found = starts(crashing).map(({ at }) => at);
        return found.length >= 4 ? found : undefined;
      },
      { timeoutMs: 60_000, what: 'four starts' },
    );
    const [first, second, third] = [1, 2, 3].map((position) => times[position]! - times[position - 1]!);
    expect(first).to.be.above(3000);
    expect(second).to.be.above(3000);
    expect(third)
      .to.be.above(5500)
      .and.above(Math.min(first!, second!) + 1500);
    await eventually(
      async () => {
        const { body } = await cc.call('GET', `/v2/apps/${crashing}/instances`);
        return body['0'].state === 'FLAPPING' ? true : undefined;
      },
      { what: 'FLAPPING' },
    );
    await cc.call('DELETE', `/v2/apps/${crashing}`);
  });

  it('are left alone while the Cloud Controller is away, and cared for when it is back', async () => {
    await cc.miniCc.stop();
    await untilFresh({ actual: true, desired: false });
    const since = Date.now();
    const instance = await soleInstance();
    await kill(instance);
    const crashed = ({ data, at }: Received) =>
      at >= since && data.droplets.some(({ state, droplet }: Message) => droplet === shop && state === 'CRASHED');
    await eventually(() => (peer.all('dea.heartbeat').filter(crashed).length >= 3 ? true : undefined), {
      timeoutMs: 30_000,
      what: 'three heartbeats that tell of the crash',
    });
    expect(orders(since)).to.deep.equal([]);
    cc = await startController(cc.directory);
    await untilRunning(shop, [0], 'another instance');
  });

  it('are left alone while the bus is away, and until heartbeats have come for long enough after', async () => {
    await untilFresh({ actual: true, desired: true });
    const instance = await soleInstance();
    const since = Date.now();
    nats.pause();
    await kill(instance);
    await untilFresh({ actual: false, desired: true });
    const resumedAt = Date.now();
    nats.resume();
    await untilRunning(shop, [0], 'another instance', ([found]) => found!.instance !== instance.instance);
    expect(Math.min(...orders(since).map(({ at }) => at)) - resumedAt).to.be.above(1500);
    expect(orders(since).filter(({ subject }) => subject === 'hm9000.stop')).to.deep.equal([]);
  });

  it('start on another cell when theirs dies', async () => {
    await change(shop, { instances: 2 });
    const [, second] = (await untilRunning(shop, [0, 1], 'two instances')) as [Message, Message];
    const dying = second.dea;
    const indexOfCell = Number(String(dying).split('-')[0]);
    const lost = (await running(shop)).filter(({ dea }) => dea === dying).map(({ index }) => index);
    await cells[indexOfCell]!.kill();
    const lastBeat = peer.all('dea.heartbeat', { dea: dying }).at(-1)!;
    const found = await untilRunning(shop, [0, 1], 'both instances', (all) => all.every(({ dea }) => dea !== dying));
    expect(lost).to.include(1);
    expect(found).to.have.length(2);
    const ordered = orders(lastBeat.at).filter(({ subject }) => subject === 'hm9000.start');
    expect(ordered.map(({ data }) => data.instance_index).sort()).to.deep.equal(lost);
    // Six to seven heartbeats, each a second here; the machine may be busy.
    expect(ordered[0]!.at - lastBeat.at).to.be.within(5000, 12_000);
  });

  it('are gone with their routes when they are deleted, and nothing brings them back', async () => {
    const deletedAt = Date.now();
    expect((await cc.call('DELETE', `/v2/apps/${shop}`)).status).to.equal(204);
    await untilRunning(shop, [], 'the end of all instances');
    const since = (subject: string) => peer.all(subject).filter(({ at }) => at >= deletedAt);
    // So many that a start for what is missing would have gone out.
    const isDead = ({ state }: Message) => state === 'CRASHED';
    const deadHeartbeats = () => since('dea.heartbeat').filter(({ data }) => data.droplets.every(isDead));
    await eventually(() => (deadHeartbeats().length >= 5 ? true : undefined), {
      timeoutMs: 30_000,
      what: 'five heartbeats without a living instance',
    });
    expect(starts(shop, deletedAt)).to.deep.equal([]);
    const ports = since('router.unregister').map(({ data }) => data.port);
    expect(new Set(ports).size, 'instances whose routes were taken back').to.equal(2);
  });
});
