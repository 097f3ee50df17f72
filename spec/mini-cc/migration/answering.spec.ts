import { expect } from 'chai';
import { type Cell, makeCell } from '../../support/cell.js';
import { eventually } from '../../support/eventually.js';
import { type HttpServer, startHttpServer } from '../../support/http-server.js';
import { type RunningMiniCc, startMiniCc } from '../../support/mini-cc.js';
import { freeTcpPort } from '../../support/nats.js';
import type { Message } from '../../support/peer.js';
import { PlayedBridge } from '../../support/played-bridge.js';
import { RequestLoad } from '../../support/request-load.js';
import { RouterRig } from '../../support/router.js';
import { type WatchingHealthManager, watchOver } from '../../support/watching-health-manager.js';

const host = 'shop.example.com';
const perSecond = 50;

/**
 * Row 39 of docs/protocol/legacy-cc.md §13, with a real router and a real cell. Of Diego there is what a client sees: an
 * endpoint that comes and goes with the desired process, as route-emitter tells of it.
 */
describe('an app that is asked all the time while it changes sides', function () {
  this.timeout(180_000);
  let rig: RouterRig;
  let bridge: PlayedBridge;
  let onDiego: HttpServer;
  let cell: Cell;
  let cc: RunningMiniCc;
  let health: WatchingHealthManager;
  let load: RequestLoad | undefined;
  let bulker: NodeJS.Timeout;
  let emitter: NodeJS.Timeout;
  let app: string;
  /** Who answered last. */
  let answering: 'cells' | 'Diego' | undefined;

  before(async () => {
    rig = await RouterRig.start();
    bridge = await PlayedBridge.start();
    onDiego = await startHttpServer((_request, response) => void response.end('hello from Diego'));
    const ports = { controller: await freeTcpPort(), health: await freeTcpPort() };
    cc = await startMiniCc({
      natsUrl: rig.nats.url,
      config: {
        ...bridge.config,
        external_port: ports.controller,
        hm9000: { url: `http://127.0.0.1:${ports.health}` },
        buildpacks: [{ name: 'procfile', path: 'spec/fixtures/buildpacks/procfile-buildpack' }],
        staging: { timeout_in_seconds: 60, minimum_staging_memory_mb: 256, minimum_staging_disk_mb: 512 },
        migration_hold_seconds: 4,
        migration_check_interval_in_seconds: 1,
      },
    });
    health = await watchOver({ natsPort: rig.nats.port, controllerUrl: cc.url, apiPort: ports.health });
    cell = await makeCell({ natsUrl: rig.nats.url });
    await cell.start();
    await eventually(() => (cc.miniCc.cellIds.length === 1 ? true : undefined), { what: 'the cell' });
    bulker = setInterval(() => void bridge.sync(cc.url).catch(() => {}), 200);
    emitter = setInterval(emitRoutes, 100);
    const fields = { name: 'shop', routes: [host], memory: 64, disk_quota: 128 };
    app = (await cc.call('POST', '/v2/apps', fields)).body.guid;
    await cc.uploadBits(app, 'spec/fixtures/apps/procfile');
    await change({ state: 'STARTED' });
    await eventually(async () => ((await rig.routes())[host]?.length ? true : undefined), {
      what: 'the app’s route',
      timeoutMs: 60_000,
    });
  });

  after(async () => {
    clearInterval(bulker);
    clearInterval(emitter);
    await load?.stop();
    await health?.stop();
    await cc?.stop();
    await cell?.dispose();
    await onDiego?.stop();
    await bridge?.stop();
    await rig?.stop();
  });

  const change = async (fields: Message) => {
    const answer = await cc.call('PUT', `/v2/apps/${app}`, fields);
    expect(answer.status, JSON.stringify(answer.body)).to.equal(201);
  };

  let isRouted = false;
  function emitRoutes(): void {
    const runs = bridge.runningIndices(app).size > 0;
    if (!runs && !isRouted) return;
    isRouted = runs;
    const endpoint = { host: '127.0.0.1', port: onDiego.port, uris: [host] };
    rig.peer.publish(runs ? 'router.register' : 'router.unregister', endpoint);
  }

  /** Instances that the cell still has of the app. */
  const onCells = async () =>
    (await rig.peer.request('dea.find.droplet', { droplet: app }, { count: 9, timeoutMs: 250 })).length;

  /** Waits until it is there alone, and answers from there. */
  async function untilItIs(where: 'cells' | 'Diego'): Promise<void> {
    const isThere = async () => {
      if (answering !== where || bridge.runningIndices(app).size > 0 !== (where === 'Diego')) return undefined;
      return (await onCells()) === (where === 'cells' ? 1 : 0) || undefined;
    };
    await eventually(isThere, { what: `the app on ${where} alone`, timeoutMs: 60_000 });
  }

  it('answers each request, on its way to Diego and back', async () => {
    load = new RequestLoad({
      port: rig.router.port,
      host,
      path: '/',
      perSecond,
      accept(status, body) {
        if (status !== 200) return false;
        answering = body === 'hello from Diego' ? 'Diego' : 'cells';
        return true;
      },
    });
    await untilItIs('cells');
    bridge.startsAs = 'STARTING';
    await change({ diego: true });
    const answered = load.answered;
    // Diego takes its time; so long the cell goes on.
    await eventually(() => (load!.answered > answered + 3 * perSecond ? true : undefined), { what: 'more answers' });
    expect(await onCells()).to.equal(1);
    bridge.runAll();
    await untilItIs('Diego');
    await change({ diego: false });
    await untilItIs('cells');
    await load.stop();
    console.log(`      ${load.sent} requests, ${load.failures.length} lost`);
    expect(load.failures).to.deep.equal([]);
  });
});
