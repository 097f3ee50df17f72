import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { expect } from 'chai';
import { type BlobServer, sha1, startBlobServer } from '../../support/blob-server.js';
import { type Cell, freePort, makeCell } from '../../support/cell.js';
import { makeDroplet } from '../../support/droplets.js';
import { eventually } from '../../support/eventually.js';
import { expectNothingLeft } from '../../support/leaks.js';
import { startNats } from '../../support/nats.js';
import { type Message, Peer } from '../../support/peer.js';
import { startMessage } from '../../support/start-message.js';

/** Numbers in titles are those of docs/protocol/dea.md §25. */
describe('the life of a cell', function () {
  this.timeout(60_000);
  let nats: Awaited<ReturnType<typeof startNats>>;
  let blobs: BlobServer;
  let peer: Peer;
  let cell: Cell;

  beforeEach(async () => {
    nats = await startNats();
    blobs = await startBlobServer();
    peer = await Peer.connect(nats.url);
    cell = await makeCell({ natsUrl: nats.url });
  });

  afterEach(async () => {
    await cell?.dispose();
    await peer?.close();
    await blobs?.stop();
    await nats?.stop();
  });

  async function startApp(overrides: Message = {}): Promise<{ app: string; stats: Message }> {
    const droplet = await makeDroplet();
    const message: Message = startMessage({
      sha1: sha1(droplet),
      executableUri: blobs.put('/droplet', droplet),
      ...overrides,
    });
    const id = (await peer.next('dea.advertise')).id;
    peer.publish(`dea.${id}.start`, message);
    const found = await eventually(
      async () =>
        (
          await peer.request(
            'dea.find.droplet',
            { droplet: message.droplet, states: ['RUNNING'], include_stats: true },
            { timeoutMs: 300 },
          )
        )[0],
      { timeoutMs: 20_000 },
    );
    return { app: message.droplet, stats: found.stats };
  }

  it('1: advertises at once and periodically, on both subjects with one id', async () => {
    await cell.start();
    const first = await peer.next('dea.advertise');
    expect(first).to.have.all.keys(
      'id',
      'stacks',
      'url',
      'available_memory',
      'available_disk',
      'app_id_to_count',
      'placement_properties',
    );
    expect(first).to.deep.include({
      stacks: ['bookworm'],
      url: null,
      available_memory: 4096,
      available_disk: 16384,
      app_id_to_count: {},
      placement_properties: { zone: 'default' },
    });
    await eventually(() => (peer.all('dea.advertise').length >= 4 ? true : undefined));
    const times = peer.all('dea.advertise').map(({ at }) => at);
    expect((times[3]! - times[1]!) / 2).to.be.closeTo(1000, 100);
    expect(peer.all('staging.advertise')[0]!.data).to.deep.equal({
      id: first.id,
      stacks: ['bookworm'],
      available_memory: 4096,
      available_disk: 16384,
    });
  });

  it('announces itself to peers of before 2016, and answers them', async () => {
    await cell.start();
    const { id } = await peer.next('dea.advertise');
    expect(await peer.next('dea.start')).to.include({ id, version: '0.0.1' });
    await peer.next('router.greet');
    expect(await peer.next('dea.heartbeat')).to.deep.equal({ dea: id, droplets: [] });
    const [status] = await peer.request('dea.status', {});
    expect(status).to.include({ id, version: '0.0.1', max_memory: 4096, reserved_memory: 0, num_clients: null });
    for (const [asked, answer] of [
      ['dea.locate', 'dea.advertise'],
      ['staging.locate', 'staging.advertise'],
      ['healthmanager.start', 'dea.heartbeat'],
    ] as const) {
      const mark = peer.mark;
      peer.publish(asked, {});
      await peer.next(answer, () => true, { since: mark, timeoutMs: 500 });
    }
  });

  it('stays silent in the dialects that the configuration leaves out', async () => {
    const modern = await makeCell({ natsUrl: nats.url, config: { legacy_protocols: ['dea.heartbeat'] } });
    try {
      await modern.start();
      await peer.next('dea.heartbeat');
      expect(await peer.request('dea.status', {}, { timeoutMs: 300 })).to.deep.equal([]);
      expect(peer.received.map(({ subject }) => subject)).not.to.include.members(['staging.advertise']);
    } finally {
      await modern.dispose();
    }
  });

  it('2: names the key when the configuration is wrong', () => {
    const config = JSON.parse(readFileSync(cell.configPath, 'utf8'));
    delete config.nats_servers;
    const path = join(cell.baseDirectory, 'wrong.yml');
    writeFileSync(path, JSON.stringify(config));
    const { status, stderr } = spawnSync('bin/dea', [path], { encoding: 'utf8' });
    expect(status).to.equal(1);
    expect(stderr).to.contain('nats_servers: missing key');
  });

  it('answers --help, --check and wrong arguments', () => {
    const run = (...args: string[]) => spawnSync('bin/dea', args, { encoding: 'utf8' });
    expect(run('--help')).to.include({ status: 0 }).and.property('stdout').contain('Usage: dea <config path>');
    expect(run('--check', cell.configPath)).to.include({ status: 0, stdout: `${cell.configPath}: ok\n` });
    expect(run()).to.include({ status: 1, stderr: 'Usage: dea <config path>\n' });
    expect(run('/nowhere.yml')).to.include({ status: 1 }).and.property('stderr').contain('Failed loading config');
  });

  it('3: does not start beside another cell with the same pid file', async () => {
    await cell.start();
    const { status, stderr } = spawnSync('bin/dea', [cell.configPath], { encoding: 'utf8' });
    expect(status).to.equal(1);
    expect(stderr).to.contain(`Process already running (pid=${cell.pid}).`);
    expect(readFileSync(cell.pidFile, 'utf8')).to.equal(`${cell.pid}\n`);
    await peer.next('dea.advertise', () => true, { since: peer.mark });
  });

  it('takes the pid file of a dead cell over', async () => {
    writeFileSync(cell.pidFile, '999999999\n');
    await cell.start();
    expect(readFileSync(cell.pidFile, 'utf8')).to.equal(`${cell.pid}\n`);
  });

  it('says which port is taken when it cannot serve files', async () => {
    await cell.start();
    const second = await makeCell({
      natsUrl: nats.url,
      config: {
        directory_server: { v2_port: cell.directoryServerPort, file_api_port: await freePort(), address: '127.0.0.1' },
      },
    });
    try {
      await second.start().then(
        () => expect.fail('started'),
        (error: Error) => expect(error.message).to.contain('EADDRINUSE').and.contain(String(cell.directoryServerPort)),
      );
      expect(await second.exited).to.equal(1);
      expect(existsSync(second.pidFile)).to.equal(false);
    } finally {
      await second.dispose();
    }
  });

  it('4: registers the directory server at once, when a router starts, and in the interval that it advises', async () => {
    await cell.start();
    const route = await peer.next('router.register', (data) => data.tags?.component === 'directory-server-0');
    expect(route.port).to.equal(cell.directoryServerPort);
    expect(route.uris[0]).to.match(/^[0-9a-f]{32}\.example\.com$/);
    const mark = peer.mark;
    peer.publish('router.start', { id: 'r', hosts: ['127.0.0.1'], minimumRegisterIntervalInSeconds: 1 });
    await peer.next('router.register', (data) => data.uris[0] === route.uris[0], { since: mark, timeoutMs: 500 });
    await eventually(() => (peer.all('router.register').length >= 4 ? true : undefined), { timeoutMs: 4000 });
  });

  it('registers once a second at most, whatever a router advises', async () => {
    await cell.start();
    await peer.next('router.register');
    for (const advised of [1e12, 1e-9]) {
      const before = peer.all('router.register').length;
      const mark = peer.mark;
      peer.publish('router.start', { id: 'r', hosts: ['127.0.0.1'], minimumRegisterIntervalInSeconds: advised });
      await peer.next('router.register', () => true, { since: mark });
      // As long as a flood would need to be seen.
      await peer.next('dea.advertise', () => true, { since: peer.mark });
      await peer.next('dea.advertise', () => true, { since: peer.mark });
      expect(peer.all('router.register').length - before, String(advised)).to.be.at.most(4);
    }
  });

  it('starts without a bus, and joins it when it comes', async () => {
    const port = Number(new URL(nats.url).port);
    await peer.close();
    await nats.stop();
    await cell.start();
    nats = await startNats({ port });
    peer = await Peer.connect(nats.url);
    const { app } = await startApp();
    expect(app).to.be.a('string');
  });

  it('keeps its apps through a minute without bus, and tells of a crash in between', async function () {
    this.timeout(120_000);
    await cell.start();
    const { app, stats } = await startApp();
    const port = Number(new URL(nats.url).port);
    await peer.close();
    await nats.stop();
    await fetch(`http://${stats.host}:${stats.port}/hello`);
    await fetch(`http://${stats.host}:${stats.port}/exit?code=8`).catch(() => {});
    await eventually(async () => ((await cell.snapshot()).instances[0]?.state === 'CRASHED' ? true : undefined));
    nats = await startNats({ port });
    peer = await Peer.connect(nats.url);
    expect(await peer.next('droplet.exited', () => true, { timeoutMs: 15_000 })).to.include({
      droplet: app,
      exit_status: 8,
    });
  });

  it('27: on TERM withdraws, stops its apps, tells and forgets everything', async () => {
    await cell.start();
    const { app } = await startApp();
    const mark = peer.mark;
    expect(await cell.terminate()).to.equal(0);
    const said = peer.received.slice(mark).map(({ subject }) => subject);
    expect(said.filter((subject) => subject === 'dea.shutdown')).to.have.lengthOf(1);
    expect(await peer.next('router.unregister', (data) => data.app === app, { since: mark })).to.have.property('port');
    await peer.next('router.unregister', (data) => data.tags.component === 'directory-server-0', { since: mark });
    expect(said).not.to.include('droplet.exited');
    expect(existsSync(cell.pidFile)).to.equal(false);
    expect(await readdir(join(cell.baseDirectory, 'base/droplets'))).to.deep.equal([]);
    const snapshot = await cell.snapshot();
    expect(snapshot).to.deep.include({ instances: [], staging_tasks: [] });
    expect(cell.logs.at(-1)!.message).to.equal('All instances and staging tasks stopped, exiting.');
  });

  it('ends when told to while it is still starting', async () => {
    const starting = cell.start().catch(() => {});
    await eventually(() => (existsSync(cell.pidFile) ? true : undefined));
    await cell.terminate();
    await starting;
    expect(existsSync(cell.pidFile)).to.equal(false);
    await expectNothingLeft(join(cell.baseDirectory, 'base/depot'));
  });

  it('28: on USR1 only withdraws from placement', async () => {
    await cell.start();
    const { app, stats } = await startApp();
    const mark = peer.mark;
    cell.signal('SIGUSR1');
    await peer.next('dea.shutdown', () => true, { since: mark });
    const after = peer.mark;
    expect(await (await fetch(`http://${stats.host}:${stats.port}/hello`)).text()).to.equal('hello from 0');
    await eventually(() => (peer.all('dea.heartbeat').length > 3 ? true : undefined));
    expect(peer.received.slice(after).filter(({ subject }) => subject === 'dea.advertise')).to.deep.equal([]);
    expect((await cell.snapshot()).instances[0]).to.include({ application_id: app, state: 'RUNNING' });
  });
});
