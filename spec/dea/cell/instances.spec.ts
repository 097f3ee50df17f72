import { connect } from 'node:net';
import { expect } from 'chai';
import { type BlobServer, sha1, startBlobServer } from '../../support/blob-server.js';
import { type Cell, makeCell } from '../../support/cell.js';
import { makeDroplet } from '../../support/droplets.js';
import { eventually } from '../../support/eventually.js';
import { startNats } from '../../support/nats.js';
import { type Message, Peer } from '../../support/peer.js';
import { startMessage } from '../../support/start-message.js';

/** Numbers in titles are those of docs/protocol/dea.md §25. */
describe('a cell with instances', function () {
  this.timeout(60_000);
  let nats: Awaited<ReturnType<typeof startNats>>;
  let blobs: BlobServer;
  let cell: Cell;
  let peer: Peer;
  let cellId: string;
  let droplet: Buffer;
  let dropletUrl: string;

  before(async () => {
    nats = await startNats();
    blobs = await startBlobServer();
    droplet = await makeDroplet();
    dropletUrl = blobs.put('/droplet', droplet);
    peer = await Peer.connect(nats.url);
    cell = await makeCell({ natsUrl: nats.url });
    await cell.start();
    cellId = await peer.cellId();
  });

  after(async () => {
    await cell?.dispose();
    await peer?.close();
    await blobs?.stop();
    await nats?.stop();
  });

  // Each spec leaves the cell as it found it.
  afterEach(async () => {
    for (const { droplet: app } of (await cell.snapshot()).instances.map((i) => ({ droplet: i.application_id }))) {
      peer.publish('dea.stop', { droplet: app });
    }
    await eventually(async () => {
      const { instances } = await cell.snapshot();
      return instances.every(({ state }) => state === 'CRASHED') || undefined;
    });
  });

  const message = (overrides: Message = {}): Message =>
    startMessage({ sha1: sha1(droplet), executableUri: dropletUrl, ...overrides });

  function start(overrides: Message = {}): Message {
    const sent = message(overrides);
    peer.publish(`dea.${cellId}.start`, sent);
    return sent;
  }

  const find = async (app: string, filter: Message = {}) =>
    (await peer.request('dea.find.droplet', { droplet: app, ...filter }, { timeoutMs: 500 }))[0];

  async function startAndWait(overrides: Message = {}): Promise<Message & { found: Message }> {
    const sent = start(overrides);
    const found = await eventually(() => find(sent.droplet, { states: ['RUNNING'], include_stats: true }), {
      timeoutMs: 20_000,
      what: 'a RUNNING instance',
    });
    return { ...sent, found };
  }

  const get = async (instance: { found: Message }, path: string) => {
    const { host, port } = instance.found.stats;
    return (await fetch(`http://${host}:${port}${path}`)).text();
  };

  const exits = (app: string) => peer.all('droplet.exited', { droplet: app });
  const latest = (subject: string) => peer.all(subject).at(-1)!.data;

  async function freeMemory(): Promise<number> {
    const mark = peer.mark;
    return (await peer.next('dea.advertise', () => true, { since: mark })).available_memory;
  }

  it('5: reserves memory, counts the instance and registers its route', async () => {
    const before = await freeMemory();
    const mark = peer.mark;
    const { droplet: app, found } = await startAndWait();
    const route = await peer.next('router.register', (data) => data.app === app, { since: mark });
    expect(route).to.deep.include({
      dea: cellId,
      app,
      uris: ['web.example.com'],
      host: found.stats.host,
      port: found.stats.port,
      tags: { component: 'dea-0' },
    });
    expect(route.private_instance_id).to.match(/^[0-9a-f]{64}$/);
    const advertisement = await peer.next('dea.advertise', (data) => data.app_id_to_count[app] === 1, { since: mark });
    expect(advertisement.available_memory).to.equal(before - 64);
    expect(latest('staging.advertise')).to.include({ id: cellId, available_memory: before - 64 });
  });

  it('answers through its host port', async () => {
    expect(await get(await startAndWait({ index: 3 }), '/hello')).to.equal('hello from 3');
  });

  it('6: ignores a message that is invalid, and goes on', async () => {
    const before = await freeMemory();
    const { droplet: app } = start({ uris: 'web.example.com' });
    expect(await find(app)).to.equal(undefined);
    expect(await freeMemory()).to.equal(before);
    await eventually(() => cell.logs.find(({ message: text }) => text === 'Error validating instance: '));
  });

  it('7: tells at once, and once, that there is no room', async () => {
    const { droplet: app, version } = start({ limits: { mem: 100_000, disk: 64, fds: 16 } });
    const { instance } = await peer.next('droplet.exited', (data) => data.droplet === app);
    expect(instance).to.match(/^[0-9a-f]{32}$/);
    const [exited, ...more] = exits(app).map(({ data }) => data);
    expect(more).to.deep.equal([]);
    expect(exited).to.deep.include({
      cc_partition: 'default',
      droplet: app,
      version,
      index: 0,
      reason: 'CRASHED',
      exit_status: -1,
      exit_description: 'Not enough memory resource available.',
    });
    expect(exited!.crash_timestamp).to.be.closeTo(Date.now() / 1000, 5);
    expect(await find(app)).to.include({ state: 'CRASHED' });
  });

  it('8: survives garbage on every subject it listens to', async () => {
    const listened = ['router.start', `dea.${cellId}.start`, 'dea.stop', 'dea.update', 'dea.find.droplet'];
    const staging = [`staging.${cellId}.start`, 'staging.stop', 'staging', 'staging.locate'];
    const legacy = ['healthmanager.start', 'dea.status', 'dea.locate'];
    const mark = peer.mark;
    for (const subject of [...listened, ...staging, ...legacy]) {
      for (const text of ['}{', '[]', '"text"', 'null', '17', '', '{"droplet": {"a": []}}'])
        peer.publishRaw(subject, text);
    }
    await peer.next('dea.advertise', () => true, { since: mark, timeoutMs: 3000 });
    await eventually(() => cell.logs.find(({ message: text }) => text === 'nats.subscription.json_error'));
    expect(await get(await startAndWait(), '/hello')).to.equal('hello from 0');
  });

  it('9: keeps silent about states that do not match, and about states that do not exist', async () => {
    const { droplet: app } = start({ start_command: 'sleep 60', health_check_timeout: 30 });
    await eventually(() => find(app, { states: ['STARTING'] }));
    expect(await find(app, { states: ['RUNNING'] })).to.equal(undefined);
    expect(await find(app, { states: ['bogus'] })).to.equal(undefined);
    expect(cell.logs.filter(({ message: text }) => text === 'nats.subscription.error')).not.to.deep.equal([]);
  });

  it('10: filters by index, version, instance ids, alone and together', async () => {
    const { droplet: app, version, found } = await startAndWait({ index: 2 });
    const { instance } = found;
    const hits = [{ indices: [2] }, { version }, { instances: [instance] }, { instance_ids: [instance, 'x'] }];
    for (const filter of hits) expect(await find(app, filter), JSON.stringify(filter)).to.include({ instance });
    expect(await find(app, Object.assign({}, ...hits))).to.include({ instance });
    expect(await find(app, { indices: [], instances: null, states: [] })).to.include({ instance });
    for (const filter of [{ indices: [1] }, { version: 'x' }, { instances: ['x'] }, { ...hits[0], version: 'x' }]) {
      expect(await find(app, filter), JSON.stringify(filter)).to.equal(undefined);
    }
  });

  it('11: answers with statistics and a signed file URL when asked', async () => {
    const { droplet: app, found } = await startAndWait();
    expect(found).to.deep.include({ dea: cellId, droplet: app, index: 0, state: 'RUNNING' });
    expect(found.staged).to.equal(`/${found.instance}`);
    expect(found).not.to.have.property('file_uri_v2');
    expect(found.stats).to.include({
      mem_quota: 64 * 1048576,
      disk_quota: 128 * 1048576,
      fds_quota: 1024,
      name: 'web',
    });
    expect(found.stats.usage.time).to.match(/^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d [+-]\d{4}$/);
    const measured = await eventually(async () => {
      const { stats } = (await find(app, { include_stats: true }))!;
      return stats.usage.mem > 0 && stats.usage.disk > 0 ? stats : undefined;
    });
    expect(measured.usage.cpu).to.be.at.least(0);
    const { file_uri_v2: url } = (await find(app, { path: '/logs' }))!;
    expect(await (await readFileUrl(url)).text()).to.contain('staging_task.log');
    const root = (await find(app, { path: null }))!.file_uri_v2;
    expect(await (await readFileUrl(root)).text()).to.contain('app/');
  });

  /** As the router does: the directory server's own address, the URL's path and query. */
  const readFileUrl = (url: string) => {
    const { pathname, search } = new URL(url);
    return fetch(`http://127.0.0.1:${cell.directoryServerPort}${pathname}${search}`);
  };

  it('12: gives up on an app that never listens, and keeps its logs', async () => {
    const started = Date.now();
    const { droplet: app } = start({ start_command: 'echo hi > ../logs/app.log; sleep 60', health_check_timeout: 2 });
    const exited = await peer.next('droplet.exited', (data) => data.droplet === app);
    expect(Date.now() - started).to.be.lessThan(4000);
    expect(exited).to.include({
      exit_status: -1,
      exit_description: 'failed to accept connections within health check timeout',
    });
    const url = (await find(app, { path: '/logs/app.log', states: ['CRASHED'] }))!.file_uri_v2;
    await eventually(async () => ((await (await readFileUrl(url)).text()) === 'hi\n' ? true : undefined));
  });

  it('13: tells once of an app that exits before it listens', async () => {
    const { droplet: app } = start({ start_command: 'exit 3' });
    const exited = await peer.next('droplet.exited', (data) => data.droplet === app);
    expect(exited).to.include({ exit_status: 3, exit_description: 'app instance exited' });
    await freeMemory();
    expect(exits(app)).to.have.lengthOf(1);
    expect(peer.all('router.unregister', { app })).to.have.lengthOf(1);
  });

  it('14: says out of memory, once, when the memory limit ended the app', async () => {
    const instance = await startAndWait();
    await get(instance, '/alloc?mb=300').catch(() => {});
    const exited = await peer.next('droplet.exited', (data) => data.droplet === instance.droplet);
    expect(exited.exit_description).to.equal('out of memory');
    await freeMemory();
    expect(exits(instance.droplet)).to.have.lengthOf(1);
  });

  it('stops a disk filler and a fork bomb at their limits, and the app lives on', async () => {
    const instance = await startAndWait({ limits: { mem: 512, disk: 128, fds: 1024 } });
    const written = Number((await get(instance, '/fill?mb=400')).replace('wrote ', ''));
    expect(written).to.be.within(100, 128);
    const forked = Number((await get(instance, '/fork')).replace('forked ', ''));
    expect(forked).to.be.within(100, 512);
    expect(await get(instance, '/hello')).to.equal('hello from 0');
  });

  it('15: runs an app without routes, and registers none', async () => {
    const { droplet: app } = await startAndWait({ uris: [], start_command: 'sleep 60' });
    expect(peer.all('router.register', { app }).filter(({ data }) => data.uris.length > 0)).to.deep.equal([]);
  });

  it('tells the true exit status of an app without routes that ends at once, which never was RUNNING', async () => {
    const { droplet: app } = start({ uris: [], start_command: 'exit 7' });
    const exited = await peer.next('droplet.exited', (data) => data.droplet === app);
    expect(exited).to.include({ exit_status: 7 });
    expect(peer.all('router.register', { app })).to.deep.equal([]);
  });

  it('16: says that the start command is missing', async () => {
    const bare = await makeDroplet({ startCommand: null });
    const { droplet: app } = start({ sha1: sha1(bare), executableUri: blobs.put('/bare', bare) });
    const exited = await peer.next('droplet.exited', (data) => data.droplet === app);
    expect(exited).to.include({ exit_description: 'missing start command', exit_status: -1 });
  });

  it('17: gives the app its environment', async () => {
    const profiled = await makeDroplet({ files: { 'app/.profile.d/x.sh': 'export WINNER=profile' } });
    const instance = await startAndWait({
      sha1: sha1(profiled),
      executableUri: blobs.put('/profiled', profiled),
      env: ['Q=a"b$PORT', 'WINNER=user'],
      services: [
        {
          name: 'db',
          label: 'p-mysql',
          plan: 'x',
          tags: ['mysql'],
          vendor: 'hidden',
          credentials: { uri: 'mysql://u:p@h:3306/d' },
        },
      ],
    });
    const environment = JSON.parse(await get(instance, '/env'));
    const { port } = instance.found.stats;
    expect(environment).to.include({
      Q: `a"b${port}`,
      WINNER: 'profile',
      PORT: String(port),
      MEMORY_LIMIT: '64m',
      DATABASE_URL: 'mysql2://u:p@h:3306/d',
      HOME: '/home/vcap/app',
      CF_INSTANCE_ADDR: `${instance.found.stats.host}:${port}`,
    });
    expect(JSON.parse(environment.VCAP_SERVICES)['p-mysql'][0]).to.have.all.keys(
      'name',
      'label',
      'tags',
      'plan',
      'credentials',
    );
    const vcapApplication = JSON.parse(environment.VCAP_APPLICATION);
    expect(vcapApplication).to.include({ instance_id: instance.found.instance, instance_index: 0, space_name: 'dev' });
    expect(vcapApplication.started_at_timestamp).to.satisfy(Number.isInteger);
  });

  it('18: fetches a droplet once for ten starts at the same time', async () => {
    const fresh = await makeDroplet({ files: { 'app/unique': String(Math.random()) } });
    const executableUri = blobs.put('/fresh', fresh);
    const apps = Array.from({ length: 10 }, (_, index) => start({ sha1: sha1(fresh), executableUri, index }));
    for (const { droplet: app } of apps) {
      await eventually(() => find(app, { states: ['RUNNING'] }), { timeoutMs: 30_000 });
    }
    expect(blobs.requests.filter((request) => request === 'GET /fresh')).to.have.lengthOf(1);
  });

  const brokenDownloads: [name: string, url: () => string][] = [
    ['the blob server has no such droplet', () => `${blobs.urlWithCredentials}/nowhere`],
    ['the droplet has other bytes', () => blobs.put('/wrong', Buffer.from('something else'))],
    [
      'the connection is cut',
      () =>
        blobs.handle('/cut', (_request, response) => {
          response.writeHead(200, { 'Content-Length': 1_000_000 });
          response.write('partial');
          setTimeout(() => response.destroy(), 50);
        }),
    ],
    ['nobody listens', () => 'http://127.0.0.1:1/droplet'],
  ];
  for (const [name, url] of brokenDownloads) {
    it(`19: crashes with "failed to start" when ${name}, and keeps nothing`, async () => {
      const { droplet: app } = start({ sha1: 'ab'.repeat(20), executableUri: url() });
      const exited = await peer.next('droplet.exited', (data) => data.droplet === app);
      expect(exited).to.include({ exit_description: 'failed to start', exit_status: -1 });
    });
  }

  it('20: takes the route away before TERM reaches the app, and leaves no trace', async () => {
    const before = await freeMemory();
    const instance = await startAndWait();
    const { host, port } = instance.found.stats;
    const mark = peer.mark;
    peer.publish('dea.stop', { droplet: instance.droplet });
    await peer.next('router.unregister', (data) => data.app === instance.droplet && data.port === port, {
      since: mark,
    });
    await eventually(async () => ((await find(instance.droplet)) === undefined ? true : undefined));
    await eventually(() => refuses(host, port));
    await eventually(async () => ((await freeMemory()) === before ? true : undefined));
    expect(exits(instance.droplet)).to.deep.equal([]);
  });

  it('kills an app that ignores TERM after ten seconds', async () => {
    const instance = await startAndWait({ env: ['IGNORE_TERM=1'] });
    const stopped = Date.now();
    peer.publish('dea.stop', { droplet: instance.droplet });
    await eventually(async () => ((await find(instance.droplet)) === undefined ? true : undefined), {
      timeoutMs: 20_000,
    });
    expect(Date.now() - stopped).to.be.within(9000, 14_000);
  });

  it('stops an instance that is still starting', async () => {
    const { droplet: app } = start({ start_command: 'sleep 60', health_check_timeout: 60 });
    await eventually(() => find(app, { states: ['STARTING'] }));
    peer.publish('dea.stop', { droplet: app });
    await eventually(async () => ((await find(app)) === undefined ? true : undefined));
    expect(exits(app)).to.deep.equal([]);
  });

  it('22: takes new routes and a new version over, under a new instance id', async () => {
    const instance = await startAndWait({ uris: ['a.example.com', 'b.example.com'] });
    const app = instance.droplet;
    const mark = peer.mark;
    const sentAt = Date.now();
    peer.publish('dea.update', { droplet: app, uris: ['b.example.com', 'c.example.com'], version: 'new' });
    const registered = await peer.next('router.register', (data) => data.app === app, { since: mark });
    const unregistered = await peer.next('router.unregister', (data) => data.app === app, { since: mark });
    expect(registered.uris).to.deep.equal(['c.example.com']);
    expect(unregistered.uris).to.deep.equal(['a.example.com']);
    const found = (await find(app))!;
    expect(found.version).to.equal('new');
    expect(found.instance)
      .to.match(/^[0-9a-f]{32}$/)
      .and.not.to.equal(instance.found.instance);
    await peer.next(
      'dea.heartbeat',
      (data) => data.droplets.some((entry: Message) => entry.instance === found.instance),
      {
        since: mark,
      },
    );
    expect(Date.now() - sentAt).to.be.lessThan(1500);
    expect(await get(instance, '/hello')).to.equal('hello from 0');
    const { file_uri_v2: url } = (await find(app, { path: '/app' }))!;
    expect(await (await readFileUrl(url)).text()).to.contain('server.pl');
  });

  it('lists STARTING, RUNNING and CRASHED instances in its heartbeat, with their fields', async () => {
    const { droplet: app, version, found } = await startAndWait();
    const beat = await peer.next('dea.heartbeat', (data) =>
      data.droplets.some((e: Message) => e.state === 'RUNNING' && e.droplet === app),
    );
    expect(beat.dea).to.equal(cellId);
    expect(beat.droplets.find((entry: Message) => entry.droplet === app)).to.deep.include({
      cc_partition: 'default',
      version,
      instance: found.instance,
      index: 0,
    });
  });

  it('37: shows no file of the host through a link in the app directory', async () => {
    const instance = await startAndWait({
      start_command: 'ln -s /etc/hostname link; ln -s /proc/1/root/etc/shadow deep; exec perl server.pl',
    });
    for (const path of ['/app/link', '/app/deep', '/app/../../../../../../etc/shadow']) {
      const { file_uri_v2: url } = (await find(instance.droplet, { path }))!;
      const answer = await readFileUrl(url);
      expect([403, 404, 200], path).to.include(answer.status);
      expect(await answer.text(), path).not.to.contain('root:');
    }
  });

  it('restarts nothing by itself and keeps only the newest crash of an app', async () => {
    const app = message({ start_command: 'exit 1' });
    peer.publish(`dea.${cellId}.start`, app);
    await eventually(() => (exits(app.droplet).length === 1 ? true : undefined));
    peer.publish(`dea.${cellId}.start`, app);
    await eventually(() => (exits(app.droplet).length === 2 ? true : undefined));
    const newest = exits(app.droplet)[1]!.data.instance;
    await eventually(
      async () => {
        const found = await peer.request('dea.find.droplet', { droplet: app.droplet }, { count: 2, timeoutMs: 300 });
        return found.length === 1 && found[0]!.instance === newest ? true : undefined;
      },
      { timeoutMs: 15_000 },
    );
  });
});

function refuses(host: string, port: number): Promise<true | undefined> {
  return new Promise((resolve) => {
    const socket = connect({ host, port });
    socket.once('connect', () => {
      socket.destroy();
      resolve(undefined);
    });
    socket.once('error', () => resolve(true));
  });
}
