import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'chai';
import { AppRunner, askApp } from '../../support/app-runner.js';
import { type BlobServer, startBlobServer } from '../../support/blob-server.js';
import { type Cell, makeCell } from '../../support/cell.js';
import { eventually } from '../../support/eventually.js';
import { makeGate } from '../../support/gate.js';
import { containersIn, expectNothingLeft } from '../../support/leaks.js';
import { startNats } from '../../support/nats.js';
import { type Message, Peer } from '../../support/peer.js';
import { zipDirectory } from '../../support/zip.js';

/** Numbers in titles are those of docs/protocol/dea.md §25. */
describe('a cell that is evacuated', function () {
  this.timeout(180_000);
  let nats: Awaited<ReturnType<typeof startNats>>;
  let blobs: BlobServer;
  let peer: Peer;
  let cell: Cell;
  let cellId: string;
  let apps: AppRunner;

  beforeEach(async () => {
    nats = await startNats();
    blobs = await startBlobServer();
    peer = await Peer.connect(nats.url);
    apps = await AppRunner.create(peer, blobs);
  });

  afterEach(async () => {
    await cell?.dispose();
    await peer?.close();
    await blobs?.stop();
    await nats?.stop();
  });

  async function startCell(config: Record<string, unknown> = {}): Promise<void> {
    cell = await makeCell({
      natsUrl: nats.url,
      config: { intervals: { advertise: 1, heartbeat: 1, router_register_in_seconds: 1 }, ...config },
    });
    await cell.start();
    cellId = await peer.cellId();
  }

  /** Sends USR2 and waits until the evacuation has begun; gives the position in the peer's record. */
  async function evacuate(): Promise<number> {
    const mark = peer.mark;
    cell.signal('SIGUSR2');
    await peer.next('dea.shutdown', () => true, { since: mark });
    return mark;
  }

  const since = (mark: number, subject: string) =>
    peer.received.slice(mark).filter((message) => message.subject === subject);

  const entriesOf = (app: string, beat: Message) => beat.droplets.filter((entry: Message) => entry.droplet === app);

  const reports = (app: string, state: string) => (beat: Message) =>
    entriesOf(app, beat).some((entry: Message) => entry.state === state);

  /** Generous: the protocol's ten seconds are those of a machine that is not busy with other things. */
  async function expectEnd(): Promise<void> {
    await eventually(() => (existsSync(cell.pidFile) ? undefined : true), {
      timeoutMs: 30_000,
      what: 'the end of the cell',
    });
    expect(await cell.exited).to.equal(0);
    await expectNothingLeft(join(cell.baseDirectory, 'base/depot'));
  }

  it('26: reports its apps as EVACUATING, keeps their routes, takes nothing new, and ends when they were stopped', async () => {
    await startCell();
    const { app, found } = await apps.startAndWait(cellId);
    const mark = await evacuate();
    const entry = entriesOf(app, await peer.next('dea.heartbeat', reports(app, 'EVACUATING'), { since: mark }))[0];
    expect(entry).to.include({ instance: found.instance, index: 0, cc_partition: 'default' });
    expect(await apps.find(app)).to.include({ state: 'EVACUATING', instance: found.instance });

    // Every second a refresh of the routes, every five a heartbeat.
    await eventually(() => (since(mark, 'dea.heartbeat').length >= 3 ? true : undefined), { timeoutMs: 40_000 });
    const [first, second, third] = since(mark, 'dea.heartbeat').map(({ at }) => at);
    expect(second! - first!).to.be.within(4_000, 9_000);
    expect(third! - second!).to.be.within(4_000, 9_000);
    expect(since(mark, 'router.register').filter(({ data }) => data.app === app)).to.have.length.above(3);
    expect(since(mark, 'router.unregister').filter(({ data }) => data.app === app)).to.deep.equal([]);
    expect(since(mark, 'dea.shutdown')).to.have.lengthOf(1);
    expect(since(mark, 'dea.advertise').length + since(mark, 'staging.advertise').length).to.equal(0);
    expect(await askApp(found, '/hello')).to.equal('hello from 0');

    const refused = apps.start(cellId);
    expect(await apps.find(refused.droplet)).to.equal(undefined);

    const stopped = peer.mark;
    apps.stop(app);
    await expectEnd();
    const farewell = since(stopped, 'dea.shutdown');
    expect(farewell).to.have.lengthOf(1);
    expect(since(stopped, 'router.unregister').filter(({ data }) => data.app === app)).not.to.deep.equal([]);
    expect(cell.logs.map(({ message }) => message)).to.include('Evacuating (first time: true; can shutdown: false)');
  });

  it('26: gives up after its bail-out time and stops its apps itself', async () => {
    await startCell({ evacuation_bail_out_time_in_seconds: 3 });
    await apps.startAndWait(cellId);
    await evacuate();
    await expectEnd();
  });

  it('takes the evacuation_delay_secs of an old file for its bail-out time', async () => {
    await startCell({ evacuation_delay_secs: 2 });
    const { app } = await apps.startAndWait(cellId);
    await evacuate();
    expect(await apps.find(app)).to.include({ state: 'EVACUATING' });
    await expectEnd();
  });

  it('ends at once when there is nothing to move; a crash does not hold it up', async () => {
    await startCell();
    const { droplet: app } = apps.start(cellId, { start_command: 'exit 1' });
    await apps.waitFor(app, 'CRASHED');
    await evacuate();
    await expectEnd();
  });

  it('tells health managers of before June 2016 of each instance, once', async () => {
    await startCell();
    const { app, message, found } = await apps.startAndWait(cellId);
    const mark = await evacuate();
    const exited = await peer.next('droplet.exited', (data) => data.droplet === app, { since: mark });
    expect(exited).to.deep.equal({
      cc_partition: 'default',
      droplet: app,
      version: message.version,
      instance: found.instance,
      index: 0,
      reason: 'DEA_EVACUATION',
      exit_status: -1,
      exit_description: '',
    });
    await eventually(() => (since(mark, 'dea.heartbeat').length >= 2 ? true : undefined));
    apps.stop(app);
    await expectEnd();
    expect(since(mark, 'droplet.exited')).to.have.lengthOf(1);
  });

  it('says nothing on droplet.exited where old dialects are off', async () => {
    await startCell({ legacy_protocols: ['dea.heartbeat'] });
    const { app } = await apps.startAndWait(cellId);
    const mark = await evacuate();
    await peer.next('dea.heartbeat', reports(app, 'EVACUATING'), { since: mark });
    apps.stop(app);
    await expectEnd();
    expect(since(mark, 'droplet.exited')).to.deep.equal([]);
  });

  it('takes USR2 once, and TERM in the middle of it', async () => {
    await startCell();
    const { app } = await apps.startAndWait(cellId);
    const mark = await evacuate();
    cell.signal('SIGUSR2');
    await peer.next('dea.heartbeat', reports(app, 'EVACUATING'), { since: mark });
    expect(since(mark, 'dea.shutdown')).to.have.lengthOf(1);
    cell.signal('SIGTERM');
    cell.signal('SIGTERM');
    cell.signal('SIGUSR2');
    await expectEnd();
    expect(since(mark, 'dea.shutdown')).to.have.lengthOf(2);
  });

  describe('while an app starts', () => {
    /** A droplet that arrives when the spec says so. */
    function heldDroplet(): { url: string; requested: Promise<void>; release(): void } {
      const content = makeGate();
      const requested = makeGate();
      const path = new URL(apps.message().executableUri).pathname;
      const url = blobs.handle('/held', (request, response) => {
        requested.open();
        void content.passed.then(async () => {
          const source = await fetch(`${blobs.url}${path}`, { headers: request.headers as Record<string, string> });
          response.end(Buffer.from(await source.arrayBuffer()));
        });
      });
      return { url, requested: requested.passed, release: content.open };
    }

    it('lets it finish from the download of its droplet on, routes it then, and keeps it EVACUATING', async () => {
      await startCell();
      const droplet = heldDroplet();
      const { droplet: app } = apps.start(cellId, { executableUri: droplet.url });
      await droplet.requested;
      const mark = await evacuate();
      await peer.next('dea.heartbeat', reports(app, 'EVACUATING'), { since: mark });
      expect(since(mark, 'router.register').filter(({ data }) => data.app === app)).to.deep.equal([]);
      droplet.release();
      const route = await peer.next('router.register', (data) => data.app === app, { since: mark, timeoutMs: 40_000 });
      expect(await (await fetch(`http://${route.host}:${route.port}/hello`)).text()).to.equal('hello from 0');
      expect(await apps.find(app)).to.include({ state: 'EVACUATING' });
      apps.stop(app);
      await expectEnd();
    });

    it('lets it finish when only its port is still closed', async () => {
      await startCell();
      const { droplet: app } = apps.start(cellId, { start_command: 'sleep 4; exec perl server.pl' });
      await eventually(async () => ((await cell.snapshot()).instances[0]?.warden_job_id === 1 ? true : undefined));
      const mark = await evacuate();
      expect(await apps.find(app)).to.include({ state: 'EVACUATING' });
      expect(since(mark, 'router.register').filter(({ data }) => data.app === app)).to.deep.equal([]);
      const route = await peer.next('router.register', (data) => data.app === app, { since: mark, timeoutMs: 40_000 });
      expect(route.port).to.be.a('number');
      apps.stop(app);
      await expectEnd();
    });

    for (const [what, command, exited] of [
      [
        'never listens',
        'sleep 60',
        { exit_status: -1, exit_description: 'failed to accept connections within health check timeout' },
      ],
      ['exits', 'sleep 3; exit 6', { exit_status: 6, exit_description: 'app instance exited' }],
    ] as const) {
      it(`reports one that ${what} as CRASHED, with its cause, and ends`, async () => {
        await startCell();
        const { droplet: app } = apps.start(cellId, { start_command: command, health_check_timeout: 5 });
        await eventually(async () => ((await cell.snapshot()).instances[0]?.warden_job_id === 1 ? true : undefined));
        const mark = await evacuate();
        const crash = await peer.next('droplet.exited', (data) => data.droplet === app && data.reason === 'CRASHED', {
          since: mark,
          timeoutMs: 30_000,
        });
        expect(crash).to.include(exited);
        await expectEnd();
      });
    }

    it('stops one that is told to stop', async () => {
      await startCell();
      const { droplet: app } = apps.start(cellId, { start_command: 'sleep 60', health_check_timeout: 60 });
      await apps.waitFor(app, 'STARTING');
      const mark = await evacuate();
      apps.stop(app);
      await expectEnd();
      expect(since(mark, 'droplet.exited').filter(({ data }) => data.reason === 'CRASHED')).to.deep.equal([]);
    });
  });

  describe('while it stages', () => {
    async function stagingMessage(id: string, overrides: Message = {}): Promise<Message> {
      const pack = await zipDirectory('spec/fixtures/buildpacks/slow-compile');
      return {
        app_id: id,
        task_id: id,
        properties: { services: [], environment: [], meta: {} },
        download_uri: blobs.put('/package.zip', await zipDirectory('spec/fixtures/apps/static')),
        upload_uri: `${blobs.urlWithCredentials}/staging/droplets/${id}/upload`,
        start_message: apps.message({ droplet: id, sha1: null, executableUri: null }),
        admin_buildpacks: [{ key: 'slow', url: blobs.put('/slow.zip', pack) }],
        ...overrides,
      };
    }

    it('finishes the task, does not start its app, and then ends', async () => {
      await startCell();
      const replies = peer.requestReplies(`staging.${cellId}.start`, await stagingMessage('one'));
      await eventually(() => (replies.length === 1 ? true : undefined), { timeoutMs: 30_000, what: 'the set-up' });
      const mark = await evacuate();
      await eventually(() => (replies.length === 2 ? true : undefined), { timeoutMs: 40_000, what: 'the result' });
      expect(replies[1])
        .to.have.property('droplet_sha1')
        .that.matches(/^[0-9a-f]{40}$/);
      expect(replies[1]).not.to.have.property('error');
      expect(blobs.uploads.map(({ url }) => url).join()).to.contain('/staging/droplets/one/upload');
      await expectEnd();
      expect((await cell.snapshot()).staging_tasks).to.deep.equal([]);
      expect(since(mark, 'router.register').filter(({ data }) => data.app === 'one')).to.deep.equal([]);
    });

    it('finishes a task that is only fetching its package', async () => {
      await startCell();
      const arrived = makeGate();
      const held = makeGate();
      const content = await zipDirectory('spec/fixtures/apps/static');
      const url = blobs.handle('/held.zip', (_request, response) => {
        arrived.open();
        void held.passed.then(() => response.end(content));
      });
      const message = await stagingMessage('held', { download_uri: url });
      const replies = peer.requestReplies(`staging.${cellId}.start`, message);
      await arrived.passed;
      await evacuate();
      held.open();
      await eventually(() => (replies.length === 2 ? true : undefined), { timeoutMs: 40_000, what: 'the result' });
      expect(replies[1]).not.to.have.property('error');
      await expectEnd();
    });

    it('refuses further stagings with an error, and leaves the queue to others', async () => {
      await startCell();
      const { app } = await apps.startAndWait(cellId);
      await evacuate();
      const [reply, ...more] = await peer.request(`staging.${cellId}.start`, await stagingMessage('two'), { count: 2 });
      expect(reply).to.deep.equal({ task_id: 'two', error: 'Error staging: the agent is evacuating' });
      expect(more).to.deep.equal([]);
      expect(await peer.request('staging', await stagingMessage('three'))).to.deep.equal([]);
      apps.stop(app);
      await expectEnd();
    });
  });

  describe('and killed meanwhile', () => {
    it('finds its apps EVACUATING again, routed, and tells when one crashes', async () => {
      await startCell();
      const { app, found } = await apps.startAndWait(cellId);
      await evacuate();
      await eventually(async () => ((await cell.snapshot()).instances[0]?.state === 'EVACUATING' ? true : undefined));
      await cell.kill();
      const mark = peer.mark;
      await cell.start();
      const beat = await peer.next('dea.heartbeat', reports(app, 'EVACUATING'), { since: mark });
      expect(entriesOf(app, beat)[0].instance).to.equal(found.instance);
      const route = await peer.next('router.register', (data) => data.app === app, { since: mark });
      expect(route.port).to.equal(found.stats.port);
      expect(since(mark, 'droplet.exited')).to.deep.equal([]);
      await askApp(found, '/exit?code=4').catch(() => {});
      const exited = await peer.next('droplet.exited', (data) => data.droplet === app, { since: mark });
      expect(exited).to.include({ reason: 'CRASHED', exit_status: 4, exit_description: 'app instance exited' });
      await eventually(() => (containersIn(join(cell.baseDirectory, 'base/depot')).length === 0 ? true : undefined));
    });

    it('reports one that had not come to answer as CRASHED', async () => {
      await startCell();
      const { droplet: app } = apps.start(cellId, { start_command: 'sleep 60', health_check_timeout: 60 });
      await eventually(async () => ((await cell.snapshot()).instances[0]?.warden_job_id === 1 ? true : undefined));
      await evacuate();
      await eventually(async () => ((await cell.snapshot()).instances[0]?.state === 'EVACUATING' ? true : undefined));
      await cell.kill();
      const mark = peer.mark;
      await cell.start();
      const exited = await peer.next('droplet.exited', (data) => data.droplet === app, { since: mark });
      expect(exited).to.include({ reason: 'CRASHED', exit_description: 'failed to start' });
    });
  });
});
