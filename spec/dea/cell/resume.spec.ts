import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect } from 'chai';
import { type BlobServer, sha1, startBlobServer } from '../../support/blob-server.js';
import { type Cell, makeCell } from '../../support/cell.js';
import { makeDroplet } from '../../support/droplets.js';
import { eventually } from '../../support/eventually.js';
import { containersIn } from '../../support/leaks.js';
import { startNats } from '../../support/nats.js';
import { type Message, Peer } from '../../support/peer.js';
import { startMessage } from '../../support/start-message.js';
import { zipDirectory } from '../../support/zip.js';

describe('a cell that was killed', function () {
  this.timeout(180_000);
  let nats: Awaited<ReturnType<typeof startNats>>;
  let blobs: BlobServer;
  let cell: Cell;
  let peer: Peer;
  let droplet: Buffer;
  let dropletUrl: string;

  beforeEach(async () => {
    nats = await startNats();
    blobs = await startBlobServer();
    droplet = await makeDroplet();
    dropletUrl = blobs.put('/droplet', droplet);
    peer = await Peer.connect(nats.url);
    cell = await makeCell({ natsUrl: nats.url });
    await cell.start();
  });

  afterEach(async () => {
    await cell?.dispose();
    await peer?.close();
    await blobs?.stop();
    await nats?.stop();
  });

  async function start(overrides: Message = {}): Promise<Message> {
    const message = startMessage({ sha1: sha1(droplet), executableUri: dropletUrl, ...overrides });
    const { id } = (await peer.next('dea.advertise', () => true, { since: 0 })) as Message;
    peer.publish(`dea.${peer.all('dea.advertise').at(-1)?.data.id ?? id}.start`, message);
    return message;
  }

  const find = async (app: string, filter: Message = {}) =>
    (await peer.request('dea.find.droplet', { droplet: app, ...filter }, { timeoutMs: 500 }))[0];

  const running = (app: string) =>
    eventually(() => find(app, { states: ['RUNNING'], include_stats: true }), {
      timeoutMs: 30_000,
      what: 'a RUNNING instance',
    });

  it('24: finds its ten instances again, which answered all the time', async () => {
    const apps = await Promise.all(Array.from({ length: 10 }, (_, index) => start({ index, env: ['SECRET=x'] })));
    const before = await Promise.all(apps.map(({ droplet: app }) => running(app)));
    await cell.kill();
    for (const [index, { stats }] of before.entries()) {
      expect(await (await fetch(`http://${stats.host}:${stats.port}/hello`)).text()).to.equal(`hello from ${index}`);
    }
    const mark = peer.mark;
    await cell.start();
    const beat = await peer.next('dea.heartbeat', (data) => data.droplets.length === 10, { since: mark });
    expect(beat.droplets.map((entry: Message) => entry.instance)).to.have.members(
      before.map((found) => found.instance),
    );
    expect(beat.droplets.every((entry: Message) => entry.state === 'RUNNING')).to.equal(true);
    expect(
      peer
        .all('router.register')
        .slice(-30)
        .map(({ data }) => data.port),
    ).to.include.members(before.map(({ stats }) => stats.port));
    const after = await running(apps[0]!.droplet);
    expect(after.stats.port).to.equal(before[0]!.stats.port);
    expect(after.stats.uptime).to.be.at.least(before[0]!.stats.uptime);
    const { file_uri_v2: url } = (await find(apps[0]!.droplet, { path: '/' }))!;
    const { pathname, search } = new URL(url);
    const listing = await fetch(`http://127.0.0.1:${cell.directoryServerPort}${pathname}${search}`);
    expect(await listing.text()).to.contain('app/');
    expect((await cell.snapshot()).instances[0]!.warden_container_path)
      .to.be.a('string')
      .and.not.equal('');

    await fetch(`http://${before[3]!.stats.host}:${before[3]!.stats.port}/exit?code=9`).catch(() => {});
    const exited = await peer.next('droplet.exited', (data) => data.instance === before[3]!.instance);
    expect(exited).to.include({ exit_status: 9, exit_description: 'app instance exited' });
    expect(peer.all('droplet.exited')).to.have.lengthOf(1);
    expect(await (await fetch(`http://${before[4]!.stats.host}:${before[4]!.stats.port}/hello`)).text()).to.equal(
      'hello from 4',
    );
  });

  it('learns of an app that ended meanwhile', async () => {
    const { droplet: app } = await start();
    const { stats } = await running(app);
    await cell.kill();
    await fetch(`http://${stats.host}:${stats.port}/exit?code=5`).catch(() => {});
    await cell.start();
    expect(await peer.next('droplet.exited', (data) => data.droplet === app)).to.include({ exit_status: 5 });
  });

  it('25: turns an instance that was only starting into a crash', async () => {
    const { droplet: app } = await start({ start_command: 'sleep 100', health_check_timeout: 60 });
    await eventually(async () => ((await cell.snapshot()).instances[0]?.warden_job_id === 1 ? true : undefined));
    await cell.kill();
    await cell.start();
    expect(await peer.next('droplet.exited', (data) => data.droplet === app)).to.include({ reason: 'CRASHED' });
    await eventually(() => (depot().length === 0 ? true : undefined));
  });

  it('does not tell of an old crash again', async () => {
    const { droplet: app } = await start({ start_command: 'exit 4' });
    await peer.next('droplet.exited', (data) => data.droplet === app);
    await eventually(async () => ((await cell.snapshot()).instances[0]?.state === 'CRASHED' ? true : undefined));
    await cell.kill();
    const mark = peer.mark;
    await cell.start();
    await peer.next('dea.heartbeat', (data) => data.droplets[0]?.state === 'CRASHED', { since: mark });
    expect(peer.received.slice(mark).filter(({ subject }) => subject === 'droplet.exited')).to.deep.equal([]);
  });

  it('finds its instances in a file without its own keys, as the original agent writes it', async () => {
    const { droplet: app } = await start({ env: ['FOO=bar'] });
    const { instance, stats } = await running(app);
    await cell.kill();
    const saved = await cell.snapshot();
    const own = ['start_message', 'is_healthy', 'exit_status', 'exit_description'];
    const instances = saved.instances.map((record) =>
      Object.fromEntries(Object.entries(record).filter(([key]) => !own.includes(key))),
    );
    const file = join(cell.baseDirectory, 'base/db/instances.json');
    await writeFile(file, JSON.stringify({ time: 1458249840.59, instances, staging_tasks: [] }, undefined, 2));
    await cell.start();
    const found = await running(app);
    expect(found.instance).to.equal(instance);
    expect(found.stats.port).to.equal(stats.port);
    const environment = JSON.parse(await (await fetch(`http://${stats.host}:${stats.port}/env`)).text());
    expect(environment.FOO).to.equal('bar');
    await fetch(`http://${stats.host}:${stats.port}/exit?code=3`).catch(() => {});
    expect(await peer.next('droplet.exited', (data) => data.droplet === app)).to.include({ exit_status: 3 });
  });

  it('turns what the original agent left into crashes, once, and forgets what was being stopped', async () => {
    await cell.terminate();
    const content = await readFile('spec/fixtures/snapshots/ruby-agent.json', 'utf8');
    await writeFile(join(cell.baseDirectory, 'base/db/instances.json'), content);
    const mark = peer.mark;
    await cell.start();
    const beat = await peer.next('dea.heartbeat', (data) => data.droplets.length > 0, { since: mark });
    expect(beat.droplets.map(({ index, state }: Message) => [index, state])).to.have.deep.members([
      [1, 'CRASHED'],
      [2, 'CRASHED'],
      [4, 'CRASHED'],
      [5, 'CRASHED'],
    ]);
    const exits = () => peer.received.slice(mark).filter(({ subject }) => subject === 'droplet.exited');
    await eventually(() => (exits().length >= 3 ? true : undefined));
    expect(exits().map(({ data }) => [data.index, data.exit_description, data.exit_status])).to.have.deep.members([
      [1, 'unknown', -1],
      [2, 'failed to start', -1],
      [5, 'unknown', -1],
    ]);
    expect(cell.logs.find(({ message }) => message === 'staging.task.interrupted')?.data).to.include({
      task_id: '0b8f0000',
    });
    const offer = await peer.next('dea.advertise', () => true, { since: peer.mark });
    expect(offer.available_memory).to.equal(4096);
  });

  it('comes up with 5,000 instances of another agent, none of which is there any more', async () => {
    await cell.terminate();
    const template = JSON.parse(await readFile('spec/fixtures/snapshots/ruby-agent.json', 'utf8')).instances[0];
    const instances = Array.from({ length: 5_000 }, (_, index) => ({
      ...template,
      instance_id: index.toString(16).padStart(32, '0'),
      private_instance_id: index.toString(16).padStart(64, '0'),
      instance_index: index,
      warden_handle: `handle${index}`,
    }));
    const db = join(cell.baseDirectory, 'base/db');
    await mkdir(db, { recursive: true });
    await writeFile(join(db, 'instances.json'), JSON.stringify({ time: 1, instances, staging_tasks: [] }));
    const mark = peer.mark;
    await cell.start({ timeoutMs: 90_000 });
    const { app_id_to_count: counts } = await peer.next('dea.advertise', () => true, { since: mark });
    expect(counts).to.deep.equal({ [template.application_id]: 5_000 });
    await peer.next('dea.advertise', () => true, { since: peer.mark });
  });

  it('destroys the container of a staging that was under way, and releases its room', async () => {
    const pack = await zipDirectory('spec/fixtures/buildpacks/endless-compile');
    const id = await peer.cellId();
    const replies = peer.requestReplies(`staging.${id}.start`, {
      app_id: 'a',
      task_id: 't',
      properties: { services: [], environment: [], meta: {} },
      download_uri: blobs.put('/package.zip', await zipDirectory('spec/fixtures/apps/static')),
      upload_uri: `${blobs.urlWithCredentials}/staging/droplets/a/upload`,
      admin_buildpacks: [{ key: 'endless', url: blobs.put('/endless.zip', pack) }],
    });
    await eventually(() => (replies.length === 1 ? true : undefined), { timeoutMs: 30_000 });
    await eventually(async () => ((await cell.snapshot()).staging_tasks.length === 1 ? true : undefined));
    await cell.kill();
    expect(depot()).to.deep.equal(['staging-t']);
    await cell.start();
    await eventually(() => (depot().length === 0 ? true : undefined));
    const offer = await peer.next('dea.advertise', () => true, { since: peer.mark });
    expect(offer).to.include({ available_memory: 4096, available_disk: 16384 });
    expect((await cell.snapshot()).staging_tasks).to.deep.equal([]);
  });

  const depot = () => containersIn(join(cell.baseDirectory, 'base/depot'));

  for (const [name, content] of [
    ['malformed', '}{'],
    ['no object', '[]'],
    ['truncated', '{"time": 1, "instances": [{"state"'],
    ['empty', ''],
  ] as const) {
    it(`25: starts beside a snapshot that is ${name}, keeps it, and removes the orphans`, async () => {
      const { droplet: app } = await start();
      await running(app);
      await cell.kill();
      await writeFile(join(cell.baseDirectory, 'base/db/instances.json'), content);
      await cell.start();
      expect(await find(app)).to.equal(undefined);
      expect((await readdir(join(cell.baseDirectory, 'base/db'))).join()).to.contain('instances.json.corrupt.');
      await eventually(() => (depot().length === 0 ? true : undefined));
      const free = await peer.next('dea.advertise', () => true, { since: peer.mark });
      expect(free.available_memory).to.equal(4096);
    });
  }
});
