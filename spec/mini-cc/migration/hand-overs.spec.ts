import { expect } from 'chai';
import { eventually } from '../../support/eventually.js';
import { type RunningMiniCc, startMiniCc } from '../../support/mini-cc.js';
import { freeTcpPort, type NatsServer, startNats } from '../../support/nats.js';
import { type Message, Peer } from '../../support/peer.js';
import { PlayedBridge } from '../../support/played-bridge.js';
import { ScriptedAgent } from '../../support/scripted-agent.js';
import { type WatchingHealthManager, watchOver } from '../../support/watching-health-manager.js';

const instances = 2;
const indices = [0, 1];
const runnable = { state: 'STARTED', package_state: 'STAGED', package_hash: 'p', droplet_hash: 'b658' } as const;

/**
 * The whole circle with a health manager: cells are scripted, and so are the CC-bridge and the Diego behind it. At any
 * moment each index of the app has to run on one side or the other.
 */
describe('an app that changes sides', function () {
  this.timeout(60_000);
  let nats: NatsServer;
  let peer: Peer;
  let bridge: PlayedBridge;
  let agent: ScriptedAgent;
  let cc: RunningMiniCc;
  let health: WatchingHealthManager;
  let app: string;
  let mark: number;
  let gaps: string[];
  let watcher: NodeJS.Timeout;
  let bulker: NodeJS.Timeout;
  let ports: { controller: number; health: number };

  before(async () => {
    nats = await startNats();
    ports = { controller: await freeTcpPort(), health: await freeTcpPort() };
    peer = await Peer.connect(nats.url);
    bridge = await PlayedBridge.start();
    cc = await startController();
    agent = await ScriptedAgent.start({ natsUrl: nats.url, beats: true });
    health = await watchOver({ natsPort: nats.port, controllerUrl: cc.url, apiPort: ports.health });
    await eventually(() => (cc.miniCc.cellIds.length === 1 ? true : undefined), { what: 'the cell' });
    // nsync's bulker, which takes what is not desired any more off Diego.
    bulker = setInterval(() => void bridge.sync(cc.url).catch(() => {}), 200);
  });

  after(async () => {
    clearInterval(bulker);
    await health?.stop();
    await cc?.stop();
    await agent?.stop();
    await bridge?.stop();
    await peer?.close();
    await nats?.stop();
  });

  beforeEach(async () => {
    bridge.startsAs = 'RUNNING';
    agent.options.startsInstances = true;
    [app] = cc.insertApps([{ ...runnable, instances, state: 'STOPPED' }]) as [string];
    await change({ state: 'STARTED' });
    await untilOnCells(indices);
    await untilHealthManager((wanted) => wanted);
    gaps = [];
    watcher = setInterval(noteGaps, 2);
    mark = peer.mark;
  });

  afterEach(async () => {
    clearInterval(watcher);
    await cc.call('DELETE', `/v2/apps/${app}`);
    await untilOnCells([]);
  });

  const startController = (directory?: string) =>
    startMiniCc({
      natsUrl: nats.url,
      ...(directory !== undefined && { directory }),
      config: {
        ...bridge.config,
        external_port: ports.controller,
        hm9000: { url: `http://127.0.0.1:${ports.health}` },
        find_timeout_in_seconds: 0.2,
        migration_hold_seconds: 2,
        migration_check_interval_in_seconds: 0.2,
      },
    });

  const change = async (fields: Message) => {
    const answer = await cc.call('PUT', `/v2/apps/${app}`, fields);
    expect(answer.status, JSON.stringify(answer.body)).to.equal(201);
    return answer.body;
  };
  const onCells = () => agent.instances.filter(({ droplet }) => droplet === app);
  const indicesOnCells = () =>
    onCells()
      .map(({ index }) => index)
      .sort();
  const untilOnCells = (wanted: number[]) =>
    eventually(() => (String(indicesOnCells()) === String(wanted) ? true : undefined), {
      timeoutMs: 30_000,
      what: `indices ${wanted} on cells`,
    });
  const untilOnDiego = (count: number) =>
    eventually(() => (bridge.runningIndices(app).size === count ? true : undefined), {
      timeoutMs: 30_000,
      what: `${count} indices on Diego`,
    });
  const runAllOnCells = () => {
    for (const instance of onCells()) instance.state = 'RUNNING';
  };

  function noteGaps(): void {
    const running = bridge.runningIndices(app);
    for (const { index, state } of onCells()) if (state === 'RUNNING') running.add(index);
    for (const index of indices) if (!running.has(index)) gaps.push(`index ${index} at ${new Date().toISOString()}`);
  }

  /** Whether the health manager knows that the app is wanted on cells, or not. */
  const untilHealthManager = (fits: (isWanted: boolean) => boolean) =>
    eventually(
      async () => {
        const { version } = (await cc.call('GET', `/v2/apps/${app}`)).body;
        const [state] = await health.store.getApps([{ app, version }]);
        return fits(state?.desired !== undefined) || undefined;
      },
      { timeoutMs: 20_000, what: 'what the health manager knows' },
    );
  /** Waits until the health manager has looked at everything several times: it does so once a second. */
  async function forSomeAnalyses(): Promise<void> {
    const since = peer.mark;
    const beats = () => peer.received.slice(since).filter(({ subject }) => subject === 'dea.heartbeat').length;
    await eventually(() => (beats() >= 6 ? true : undefined), { timeoutMs: 20_000, what: 'six heartbeats' });
  }
  const since = (subject: RegExp) =>
    peer.received.slice(mark).filter((message) => subject.test(message.subject) && message.data.droplet === app);
  const isHeld = async () => (await health.store.heldApps()).has(app);
  const handedOver = (target: string) => bridge.lines.filter((line) => line === `DELETE /v1/apps/${target}`);

  it('goes to Diego: its instances on cells are stopped by the health manager, when Diego runs it and not before', async () => {
    bridge.startsAs = 'STARTING';
    const { version } = await change({ diego: true });
    expect([...bridge.processes.keys()]).to.deep.equal([`${app}-${version}`]);
    await untilHealthManager((wanted) => !wanted);
    await forSomeAnalyses();
    expect(await isHeld()).to.equal(true);
    expect(since(/^hm9000\.stop$|^dea\.stop$/)).to.deep.equal([]);
    expect(indicesOnCells()).to.deep.equal(indices);
    bridge.runAll();
    await untilOnCells([]);
    expect(
      since(/^hm9000\.stop$/)
        .map(({ data }) => data.instance_index)
        .sort(),
    ).to.deep.equal(indices);
    expect(await isHeld()).to.equal(false);
    expect(gaps).to.deep.equal([]);
  });

  it('comes back: the bridge goes on to read of it until cells run it, and is then told to stop it', async () => {
    const { version } = await change({ diego: true });
    await untilOnCells([]);
    agent.options.startsInstances = false;
    await change({ diego: false });
    await untilOnCells(indices);
    await forSomeAnalyses();
    expect([...bridge.runningIndices(app)]).to.deep.equal(indices);
    expect(handedOver(`${app}-${version}`)).to.deep.equal([]);
    runAllOnCells();
    await untilOnDiego(0);
    await eventually(() => (handedOver(`${app}-${version}`).length === 1 ? true : undefined), { what: 'the stop' });
    expect(gaps).to.deep.equal([]);
  });

  it('keeps the instances that it has when the flag flips to and fro', async () => {
    bridge.startsAs = 'STARTING';
    const before = onCells().map(({ instance }) => instance);
    for (const diego of [true, false, true, false]) await change({ diego });
    await untilHealthManager((wanted) => wanted);
    await eventually(() => (bridge.processes.size === 0 ? true : undefined), { what: 'an empty Diego' });
    await forSomeAnalyses();
    expect(onCells().map(({ instance }) => instance)).to.deep.equal(before);
    expect(since(/^dea\.[^.]+\.start$|^dea\.stop$/)).to.deep.equal([]);
    expect(gaps).to.deep.equal([]);
  });

  it('is on Diego alone when the flag ends there, however often it has flipped', async () => {
    for (const diego of [true, false, true, false, true]) await change({ diego });
    await untilOnDiego(2);
    await untilOnCells([]);
    expect(gaps).to.deep.equal([]);
  });

  it('waits on when tps tells of running instances for a moment only', async () => {
    bridge.startsAs = 'STARTING';
    let looks = 0;
    bridge.refuse = ({ path }) => {
      if (path.startsWith('/v1/actual_lrps/')) looks += 1;
      for (const process of bridge.processes.values()) process.state = looks % 2 === 1 ? 'RUNNING' : 'STARTING';
      return undefined;
    };
    await change({ diego: true });
    await eventually(() => (looks >= 5 ? true : undefined), { what: 'five looks' });
    // What the last look has left must not be seen twice.
    bridge.refuse = () => undefined;
    for (const process of bridge.processes.values()) process.state = 'STARTING';
    expect((await cc.call('GET', `/v2/apps/${app}/hand_over`)).body).to.include({ diego: true, target: 'diego' });
    expect(await isHeld()).to.equal(true);
  });

  it('goes on after a restart of the Cloud Controller', async () => {
    bridge.startsAs = 'STARTING';
    await change({ diego: true });
    await cc.miniCc.stop();
    cc = await startController(cc.directory);
    await untilHealthManager((wanted) => !wanted);
    await forSomeAnalyses();
    expect(indicesOnCells()).to.deep.equal(indices);
    bridge.runAll();
    await untilOnCells([]);
    expect(gaps).to.deep.equal([]);
  });

  it('has its routes and number changed on both sides meanwhile', async () => {
    bridge.startsAs = 'STARTING';
    await change({ diego: true });
    const { version } = await change({ routes: ['b.example.com'], instances: 3 });
    await eventually(() => (onCells().every(({ uris }) => String(uris) === 'b.example.com') ? true : undefined), {
      what: 'the new route on cells',
    });
    expect(onCells().map((instance) => instance.version)).to.deep.equal([version, version]);
    const { message } = bridge.processes.get(`${app}-${version}`)!;
    expect([message.routes, message.num_instances]).to.deep.equal([['b.example.com'], 3]);
    bridge.runAll();
    await untilOnCells([]);
    await change({ diego: false });
    await change({ routes: ['c.example.com'], instances: 2 });
    await untilOnCells(indices);
    await untilOnDiego(0);
    expect(gaps).to.deep.equal([]);
  });

  it('is stopped on both sides at once', async () => {
    bridge.startsAs = 'STARTING';
    await change({ diego: true });
    expect(await isHeld()).to.equal(true);
    await change({ state: 'STOPPED' });
    await untilOnCells([]);
    expect(bridge.processes.size).to.equal(0);
    await eventually(async () => ((await isHeld()) ? undefined : true), { what: 'the release of the hold' });
  });

  it('ignores orders of a health manager that holds nothing, until Diego runs it', async () => {
    bridge.startsAs = 'STARTING';
    const { version } = await change({ diego: true });
    const [first] = onCells();
    const order = { droplet: app, version, instance_guid: first!.instance, instance_index: 0, is_duplicate: false };
    peer.publish('hm9000.stop', order);
    // Answered in its turn: the order before it has been dealt with then.
    await peer.request('vcap.component.discover', {}, { timeoutMs: 5000 });
    expect(since(/^dea\.stop$/)).to.deep.equal([]);
    bridge.runAll();
    await untilOnCells([]);
  });
});
