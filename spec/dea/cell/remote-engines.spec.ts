import { randomUUID } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { type BlobServer, sha1, startBlobServer } from '../../support/blob-server.js';
import { type Cell, makeCell } from '../../support/cell.js';
import { makeDroplet } from '../../support/droplets.js';
import { eventually } from '../../support/eventually.js';
import { callGarden, type GardenProcess, startGarden } from '../../support/garden.js';
import { type Metron, startMetron } from '../../support/metron.js';
import { startNats } from '../../support/nats.js';
import { type Message, Peer } from '../../support/peer.js';
import { startMessage } from '../../support/start-message.js';
import { zipDirectory } from '../../support/zip.js';

for (const engine of ['garden', 'warden'] as const) {
  describe(`a cell whose containers a ${engine} server runs`, function () {
    this.timeout(120_000);
    let nats: Awaited<ReturnType<typeof startNats>>;
    let blobs: BlobServer;
    let server: GardenProcess;
    let cell: Cell;
    let peer: Peer;
    let metron: Metron;
    let directory: string;
    let wardenSocket: string;

    before(async () => {
      nats = await startNats();
      blobs = await startBlobServer();
      metron = await startMetron();
      directory = await mkdtemp(join(tmpdir(), 'remote-'));
      wardenSocket = join(directory, 'warden.sock');
      server = await startGarden({ warden_socket: wardenSocket });
      peer = await Peer.connect(nats.url);
      cell = await makeCell({
        natsUrl: nats.url,
        config: {
          ...(engine === 'warden' && { warden_socket: wardenSocket }),
          containers: { engine, garden_address: server.socket },
          loggregator: { router: `127.0.0.1:${metron.port}` },
        },
      });
      await cell.start();
    });

    after(async () => {
      await cell?.dispose();
      await peer?.close();
      await server?.stop();
      await metron?.stop();
      await blobs?.stop();
      await nats?.stop();
      await rm(directory, { recursive: true });
    });

    const find = async (app: string) =>
      (await peer.request('dea.find.droplet', { droplet: app, states: ['RUNNING'], include_stats: true }))[0];

    const started: string[] = [];

    async function start(droplet?: Buffer): Promise<Message> {
      droplet ??= await makeDroplet();
      const message = startMessage({ sha1: sha1(droplet), executableUri: blobs.put('/droplet', droplet) });
      // After a restart the cell has another id.
      const { id } = await peer.next('dea.advertise', () => true, { since: peer.mark });
      peer.publish(`dea.${id}.start`, message);
      started.push(message.droplet as string);
      await peer.next('router.register', (data) => data.app === message.droplet, { timeoutMs: 40_000 });
      return message;
    }

    const containers = async () =>
      ((await callGarden(server.socket, 'GET', '/containers?garden.state=all')).json as { Handles: string[] }).Handles;

    const expectNoContainers = () =>
      eventually(async () => ((await containers()).length === 0 ? true : undefined), {
        timeoutMs: 40_000,
        what: 'the end of all containers',
      });

    // One spec that fails must not fail those behind it.
    afterEach(async () => {
      for (const droplet of started.splice(0)) peer.publish('dea.stop', { droplet });
      await expectNoContainers();
    });

    it('starts an app there, tells its figures, finds it again after its own death, and stops it', async () => {
      const { droplet: app } = await start();
      const found = await eventually(() => find(app));
      const url = `http://${found.stats.host}:${found.stats.port}/hello`;
      expect(await (await fetch(url)).text()).to.equal('hello from 0');
      expect(found.stats.usage.mem).to.be.above(0);

      await cell.kill();
      expect(await (await fetch(url)).text()).to.equal('hello from 0');
      const mark = peer.mark;
      await cell.start();
      const beat = await peer.next('dea.heartbeat', (data) => data.droplets.length === 1, { since: mark });
      expect(beat.droplets[0]).to.include({ state: 'RUNNING', instance: found.instance });

      peer.publish('dea.stop', { droplet: app });
      await expectNoContainers();
    });

    const lines = (app: string) => metron.logs(app, 'App').flatMap(({ type, text }) => (type === 'OUT' ? [text] : []));

    it('keeps an app that prints more than a server keeps of it, and has its newest lines', async () => {
      const chatter = `perl -e 'print "x" x 1000, "\\n" for 1 .. 20_000'`;
      const { droplet: app } = await start(await makeDroplet({ startCommand: `${chatter}; exec perl server.pl` }));
      const { stats } = await eventually(() => find(app));
      // Said again and again: of a burst some lines find no room on their way.
      const say = async () => (await fetch(`http://${stats.host}:${stats.port}/log?line=newest`)).text();
      await eventually(async () => ((await say()) && lines(app).includes('newest')) || undefined, {
        timeoutMs: 30_000,
      });
      peer.publish('dea.stop', { droplet: app });
      await expectNoContainers();
    });

    it('sends what an app prints once, also when the cell is killed in between, and its last words', async () => {
      const { droplet: app } = await start();
      const { stats } = await eventually(() => find(app));
      const say = async (line: string) => (await fetch(`http://${stats.host}:${stats.port}/log?line=${line}`)).text();
      await say('one');
      await eventually(() => lines(app).includes('one') || undefined);
      await cell.kill();
      await say('two');
      await cell.start();
      await say('three');
      await eventually(() => lines(app).includes('three') || undefined);
      peer.publish('dea.stop', { droplet: app });
      await expectNoContainers();
      await eventually(() => lines(app).includes('got TERM') || undefined);
      expect(lines(app)).to.deep.equal(['one', 'two', 'three', 'got TERM']);
    });

    it('keeps its apps while the server is killed and started again, and goes on looking after them', async () => {
      const { droplet: app } = await start();
      const { stats } = await eventually(() => find(app));
      const ask = async (path: string) => (await fetch(`http://${stats.host}:${stats.port}${path}`)).text();
      const mark = peer.mark;
      await server.kill();
      await ask('/log?line=meanwhile');
      await server.start();
      expect(await ask('/hello')).to.equal('hello from 0');
      await ask('/log?line=afterwards');
      await eventually(() => lines(app).includes('afterwards') || undefined);
      expect(lines(app)).to.deep.equal(['meanwhile', 'afterwards']);
      const found = await eventually(() => find(app));
      expect(found).to.include({ state: 'RUNNING' });
      expect(found.stats.usage.mem).to.be.above(0);
      await ask('/exit?code=5');
      const exit = await peer.next('droplet.exited', (data) => data.droplet === app, { since: mark });
      expect(exit).to.include({ exit_status: 5 });
      await expectNoContainers();
    });

    it('gives back all of a crashed app although the server is killed while it is cleared away', async () => {
      const capacity = (await peer.next('dea.advertise', () => true, { since: peer.mark })).available_memory;
      const { droplet: app } = await start();
      const { stats } = await eventually(() => find(app));
      const mark = peer.mark;
      await fetch(`http://${stats.host}:${stats.port}/exit?code=7`);
      await peer.next('droplet.exited', (data) => data.droplet === app, { since: mark });
      await server.kill();
      await server.start();
      await expectNoContainers();
      await peer.next('dea.advertise', (data) => data.available_memory === capacity, { since: peer.mark });
    });

    async function stagingMessage(fixture: string): Promise<Message> {
      const app = randomUUID();
      const content = await zipDirectory(`spec/fixtures/buildpacks/${fixture}`);
      const upload = `${blobs.urlWithCredentials}/staging/droplets/${app}/upload`;
      return {
        app_id: app,
        task_id: randomUUID(),
        properties: { services: [], environment: [], resources: {} },
        download_uri: blobs.put('/package.zip', await zipDirectory('spec/fixtures/apps/static')),
        upload_uri: upload,
        buildpack_cache_upload_uri: `${upload}/cache`,
        admin_buildpacks: [{ key: `${fixture}_${sha1(content)}`, url: blobs.put(`/${fixture}`, content) }],
      };
    }

    it('stages an app there and runs what it made', async () => {
      const message = await stagingMessage('static-buildpack');
      const { app_id: app } = message;
      started.push(app);
      const startAfter = startMessage({ droplet: app, sha1: null, executableUri: null, uris: ['staged.example.com'] });
      const { id } = await peer.next('dea.advertise', () => true, { since: peer.mark });
      const replies = await peer.request(
        `staging.${id}.start`,
        { ...message, start_message: startAfter },
        { count: 2, timeoutMs: 60_000 },
      );
      expect(replies[1]).to.include({ detected_buildpack: 'Static' }).and.not.to.have.property('error');
      expect(blobs.uploads.map(({ disposition }) => /filename="(.*)"/.exec(disposition)?.[1])).to.include.members([
        'droplet.tgz',
        'buildpack_cache.tgz',
      ]);
      const built = () => metron.logs(app, 'STG').some(({ text }) => text.startsWith('-----> static: '));
      await eventually(() => built() || undefined);
      const { host, port } = await peer.next('router.register', (data) => data.app === app, { timeoutMs: 40_000 });
      expect(await (await fetch(`http://${host}:${port}/`)).text()).to.contain('html');
      peer.publish('dea.stop', { droplet: app });
      await expectNoContainers();
    });

    it('stops a staging there while it builds', async () => {
      const message = await stagingMessage('endless-compile');
      const { id } = await peer.next('dea.advertise', () => true, { since: peer.mark });
      const replies = peer.request(`staging.${id}.start`, message, { count: 2, timeoutMs: 60_000 });
      await eventually(
        () =>
          metron.logs(message.app_id, 'STG').some(({ text }) => text === '-----> compiling without end') || undefined,
        {
          timeoutMs: 30_000,
        },
      );
      peer.publish('staging.stop', { app_id: message.app_id });
      expect((await replies)[1]).to.include({ error: 'Error staging: task stopped' });
      await expectNoContainers();
    });

    it('tells of an app that exits, with its status', async () => {
      const { droplet: app } = await start();
      const { stats } = await eventually(() => find(app));
      await fetch(`http://${stats.host}:${stats.port}/exit?code=7`);
      const exit = await peer.next('droplet.exited', (data) => data.droplet === app);
      expect(exit).to.include({ reason: 'CRASHED', exit_status: 7 });
    });
  });
}
