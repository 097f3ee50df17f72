import { once } from 'node:events';
import { request as httpRequest } from 'node:http';
import { type AddressInfo, createServer } from 'node:net';
import { expect } from 'chai';
import { WebSocket, WebSocketServer } from 'ws';
import { silentLogger } from '../../lib/logging/logger.js';
import { completeRouterConfig } from '../../lib/router/config.js';
import { Router } from '../../lib/router/router.js';
import { eventually } from '../support/eventually.js';
import { bodyOf, type HttpServer, startHttpServer } from '../support/http-server.js';
import { startNats } from '../support/nats.js';
import { Peer } from '../support/peer.js';
import { ask, RouterRig } from '../support/router.js';

describe('the router on the bus', function () {
  this.timeout(20_000);
  let app: HttpServer;
  let rig: RouterRig;
  let nowMs: number;

  async function start(config: Parameters<typeof RouterRig.start>[0] = {}): Promise<void> {
    rig = await RouterRig.start(config, () => nowMs);
  }

  before(async () => {
    app = await startHttpServer((_request, response) => void response.end('app'));
  });

  after(async () => {
    await app.stop();
  });

  beforeEach(() => {
    nowMs = 1_700_000_000_000;
  });

  afterEach(async () => {
    await rig?.stop();
  });

  it('announces itself, and tells the same to whoever greets it', async () => {
    await start({ index: 3, start_response_delay_interval: 0.1, droplet_stale_threshold: 60 });
    const announced = await rig.peer.next('router.start');
    expect(announced.id).to.match(/^3-[\da-f]{8}-/);
    expect(Object.entries(announced).slice(1)).to.deep.equal([
      ['hosts', ['127.0.0.1']],
      ['minimumRegisterIntervalInSeconds', 0.1],
      ['pruneThresholdInSeconds', 60],
    ]);
    expect(await rig.peer.request('router.greet', {})).to.deep.equal([announced]);
  });

  it('hears those who register because it announced itself', async () => {
    const nats = await startNats();
    const peer = await Peer.connect(nats.url);
    peer.connection.subscribe('router.start', {
      callback: () => peer.publish('router.register', { host: '127.0.0.1', port: app.port, uris: ['early.io'] }),
    });
    await peer.connection.flush();
    const config = completeRouterConfig({
      ip: '127.0.0.1',
      port: 0,
      nats_servers: [nats.url],
      start_response_delay_interval: 0.2,
    });
    const router = Router.create({ config, logger: silentLogger });
    try {
      await router.start();
      // The table was filled before the first request was taken: no waiting here.
      expect((await ask(router.port, '/', { host: 'early.io' })).body).to.equal('app');
      expect(router.statusPort).to.equal(undefined);
    } finally {
      await router.stop();
      await peer.close();
      await nats.stop();
    }
  });

  it('takes all uris of a message, and each again with its unregistration', async () => {
    await start();
    await rig.register(app.port, { uris: ['a.io', 'b.io', '*.c.io'] });
    for (const host of ['a.io', 'b.io', 'x.y.c.io']) expect((await rig.ask('/', { host })).status).to.equal(200);
    rig.peer.publish('router.unregister', { host: '127.0.0.1', port: app.port, uris: ['a.io'] });
    await eventually(async () => ((await rig.ask('/', { host: 'a.io' })).status === 404 ? true : undefined));
    expect((await rig.ask('/', { host: 'b.io' })).status).to.equal(200);
    expect(rig.logged('endpoint-registered').map(({ data }) => data.uri)).to.deep.equal(['a.io', 'b.io', '*.c.io']);
  });

  it('drops malformed messages with a warning, and lives on', async () => {
    await start();
    const malformed = ['}{', '[]', '"x"', '1', 'null', '', '{}', '{"host":"h","port":70000,"uris":["bad.io"]}'];
    malformed.push('{"host":"h","port":null,"uris":["bad.io"]}', '{"host":"h","port":1,"uris":"bad.io"}');
    for (const subject of ['router.register', 'router.unregister', 'router.greet', 'router.start', 'router.other']) {
      for (const text of malformed) rig.peer.publishRaw(subject, text);
    }
    await rig.register(app.port);
    expect((await rig.ask('/')).body).to.equal('app');
    expect(Object.keys(await rig.routes())).to.deep.equal(['app.example.com']);
    expect(rig.logged('validation-error').length).to.equal(9 + 8);
  });

  it('takes only the routes of its isolation segments', async () => {
    await start({ routing_table_sharding_mode: 'segments', isolation_segments: ['mine'] });
    const message = { host: '127.0.0.1', port: app.port };
    rig.peer.publish('router.register', { ...message, uris: ['shared.io'] });
    rig.peer.publish('router.register', { ...message, uris: ['theirs.io'], isolation_segment: 'theirs' });
    await rig.register(app.port, { uris: ['mine.io'], isolation_segment: 'mine' });
    expect(Object.keys(await rig.routes())).to.deep.equal(['mine.io']);
  });

  it('prunes routes that nobody refreshes', async () => {
    await start({ prune_stale_droplets_interval: 0.02, droplet_stale_threshold: 120 });
    await rig.register(app.port, { uris: ['stale.io', 'fresh.io'] });
    nowMs += 119_000;
    await rig.register(app.port, { uris: ['fresh.io', 'marker.io'] });
    nowMs += 2_000;
    await eventually(() => rig.logged('pruned-route')[0]);
    expect(Object.keys(await rig.routes())).to.have.members(['fresh.io', 'marker.io']);
    expect((await rig.ask('/', { host: 'stale.io' })).status).to.equal(404);
  });

  it('announces itself again after an outage of the bus, and prunes meanwhile', async () => {
    await start({ prune_stale_droplets_interval: 0.02 });
    await rig.register(app.port);
    const { port } = rig.nats;
    await rig.nats.kill();
    expect((await rig.ask('/')).status).to.equal(200);
    nowMs += 121_000;
    await eventually(async () => ((await rig.ask('/')).status === 404 ? true : undefined));
    const back = await startNats({ port });
    const peer = await Peer.connect(back.url);
    try {
      await peer.next('router.start');
      peer.publish('router.register', { host: '127.0.0.1', port: app.port, uris: ['app.example.com'] });
      await eventually(async () => ((await rig.ask('/')).status === 200 ? true : undefined));
    } finally {
      await peer.close();
      await rig.router.stop();
      await back.stop();
    }
  });

  it('keeps its routes through an outage of the bus when it is told to', async () => {
    await start({ prune_stale_droplets_interval: 0.02, suspend_pruning_if_nats_unavailable: true });
    await rig.register(app.port);
    const { port } = rig.nats;
    await rig.nats.kill();
    await eventually(() => rig.logged('nats.disconnected')[0]);
    nowMs += 1_000_000;
    const back = await startNats({ port });
    try {
      await eventually(() => (rig.logged('nats.connected').length === 2 ? true : undefined));
      // The stamps count from the return.
      nowMs += 100_000;
      expect((await rig.ask('/')).status).to.equal(200);
      nowMs += 121_000;
      await eventually(async () => ((await rig.ask('/')).status === 404 ? true : undefined));
    } finally {
      await rig.router.stop();
      await back.stop();
    }
  });

  it('serves its table to operators and its health to all', async () => {
    await start();
    await rig.register(app.port, { private_instance_id: 'i', availability_zone: 'z1' });
    expect(await rig.routes()).to.deep.equal({
      'app.example.com': [
        {
          address: `127.0.0.1:${app.port}`,
          availability_zone: 'z1',
          protocol: 'http1',
          tls: false,
          ttl: 120,
          tags: null,
          private_instance_id: 'i',
        },
      ],
    });
    const status = (path: string, headers = {}) => ask(rig.router.statusPort!, path, { headers });
    const refused = await status('/routes');
    expect([refused.status, refused.headers['www-authenticate']]).to.deep.equal([401, 'Basic']);
    for (const credentials of ['operator:wrong', 'operator:p@ss:wordy', '']) {
      const authorization = `Basic ${Buffer.from(credentials).toString('base64')}`;
      expect((await status('/routes', { authorization })).status).to.equal(401);
    }
    expect((await status('/health')).body).to.equal('ok\n');
  });

  it('is unhealthy until it takes requests', async () => {
    const nats = await startNats();
    const config = completeRouterConfig({
      ip: '127.0.0.1',
      port: 0,
      nats_servers: [nats.url],
      start_response_delay_interval: 60,
      status: { port: 0, user: 'u', pass: 'p' },
    });
    const router = Router.create({ config, logger: silentLogger });
    const started = router.start();
    try {
      const health = await eventually(() => ask(router.statusPort!, '/health'));
      expect(health.status).to.equal(503);
    } finally {
      await router.stop();
      await started;
      await nats.stop();
    }
  });

  it('lets requests end when it stops, takes no others, and cuts what takes too long', async () => {
    await start({ drain_timeout: 1 });
    let finish = () => {};
    const slow = await startHttpServer((request, response) => {
      response.write('begin');
      if (request.url === '/slow') finish = () => response.end(' end');
    });
    try {
      await rig.register(slow.port);
      const open = async (path: string) => {
        const request = httpRequest({
          port: rig.router.port,
          path,
          headers: { host: 'app.example.com' },
          agent: false,
        });
        request.end();
        const [response] = await once(request, 'response');
        await once(response, 'readable');
        return response;
      };
      const [ending, endless] = [await open('/slow'), await open('/endless')];
      const { port } = rig.router;
      const stopped = rig.router.stop();
      await eventually(() =>
        ask(port, '/').then(
          () => undefined,
          () => true,
        ),
      );
      finish();
      expect((await bodyOf(ending)).toString()).to.equal('begin end');
      const cut = await bodyOf(endless).then(
        () => undefined,
        (error: NodeJS.ErrnoException) => error,
      );
      expect(cut?.code).to.equal('ECONNRESET');
      await stopped;
    } finally {
      await slow.stop();
    }
  });

  it('stops at once when all that is open are idle connections and WebSockets', async () => {
    await start({ drain_timeout: 60 });
    const socketServer = new WebSocketServer({ port: 0, host: '127.0.0.1' });
    await once(socketServer, 'listening');
    try {
      await rig.register((socketServer.address() as AddressInfo).port);
      const socket = new WebSocket(`ws://127.0.0.1:${rig.router.port}`, { headers: { Host: 'app.example.com' } });
      await once(socket, 'open');
      const idle = rig.connect();
      idle.write('GET / HTTP/1.1\r\nHost: a\r\n\r\n');
      await once(idle, 'data');
      const startedMs = Date.now();
      await Promise.all([rig.router.stop(), rig.router.stop(), once(idle, 'close'), once(socket, 'close')]);
      expect(Date.now() - startedMs).to.be.lessThan(3000);
    } finally {
      socketServer.close();
    }
  });

  it('takes another port than a taken one only when it may', async () => {
    const nats = await startNats();
    const other = createServer();
    other.listen(0, '127.0.0.1');
    await once(other, 'listening');
    const { port } = other.address() as AddressInfo;
    const config = completeRouterConfig({
      ip: '127.0.0.1',
      port,
      nats_servers: [nats.url],
      start_response_delay_interval: 0,
    });
    const flexible = Router.create({ config, logger: silentLogger, portFallback: true });
    try {
      const fault = await Router.create({ config, logger: silentLogger })
        .start()
        .then(
          () => undefined,
          (error: Error) => error,
        );
      expect(fault?.message).to.contain(`127.0.0.1:${port}`);
      await flexible.start();
      expect(flexible.port).to.not.equal(port);
      expect((await ask(flexible.port, '/')).status).to.equal(404);
    } finally {
      await flexible.stop();
      other.close();
      await nats.stop();
    }
  });
});
