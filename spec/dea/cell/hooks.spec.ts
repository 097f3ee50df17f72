import { chmod, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { AppRunner } from '../../support/app-runner.js';
import { type BlobServer, startBlobServer } from '../../support/blob-server.js';
import { type Cell, makeCell } from '../../support/cell.js';
import { eventually } from '../../support/eventually.js';
import { expectNothingLeft } from '../../support/leaks.js';
import { startNats } from '../../support/nats.js';
import { Peer } from '../../support/peer.js';

/** What each hook notes: its name, a user's variable, one of the platform's. */
const note = (name: string) => `echo "${name} $FOO $CF_INSTANCE_INDEX" >> /notes/log`;

describe('a cell with hooks', function () {
  this.timeout(120_000);
  let nats: Awaited<ReturnType<typeof startNats>>;
  let blobs: BlobServer;
  let peer: Peer;
  let cell: Cell;
  let cellId: string;
  let apps: AppRunner;
  let notes: string;

  beforeEach(async () => {
    nats = await startNats();
    blobs = await startBlobServer();
    peer = await Peer.connect(nats.url);
    apps = await AppRunner.create(peer, blobs);
    notes = await mkdtemp(join(tmpdir(), 'hook-notes-'));
    await chmod(notes, 0o777);
  });

  afterEach(async () => {
    await cell?.dispose();
    await peer?.close();
    await blobs?.stop();
    await nats?.stop();
    await rm(notes, { recursive: true });
  });

  async function startCell(scripts: Record<string, string>, more: Record<string, unknown> = {}): Promise<void> {
    const hooks: Record<string, string> = {};
    for (const [name, script] of Object.entries(scripts)) {
      hooks[name] = join(notes, `${name}.sh`);
      await writeFile(hooks[name], script);
    }
    cell = await makeCell({
      natsUrl: nats.url,
      config: { hooks, bind_mounts: [{ src_path: notes, dst_path: '/notes', mode: 'rw' }], ...more },
    });
    await cell.start();
    cellId = await peer.cellId();
  }

  const noted = async () => (await readFile(join(notes, 'log'), 'utf8').catch(() => '')).trim().split('\n');
  const gone = (app: string, timeoutMs = 20_000) =>
    eventually(async () => ((await apps.find(app)) === undefined ? true : undefined), { timeoutMs, what: 'its end' });

  const all = Object.fromEntries(
    ['before_start', 'after_start', 'before_stop', 'after_stop'].map((name) => [name, note(name)]),
  );

  it('runs all four around an app, with the environment of the platform and of the user', async () => {
    await startCell(all);
    const { app } = await apps.startAndWait(cellId, { env: ['FOO=bar'], index: 3 });
    apps.stop(app);
    await gone(app);
    expect(await noted()).to.deep.equal([
      'before_start bar 3',
      'after_start bar 3',
      'before_stop bar 3',
      'after_stop bar 3',
    ]);
  });

  it('runs those of a stop with the same environment after the cell was killed and started', async () => {
    await startCell(all);
    const { app } = await apps.startAndWait(cellId, { env: ['FOO=bar $PORT'], index: 2 });
    const { stats } = await apps.waitFor(app, 'RUNNING');
    await eventually(async () => ((await noted()).length === 2 ? true : undefined));
    await cell.kill();
    await cell.start();
    await apps.waitFor(app, 'RUNNING');
    apps.stop(app);
    await gone(app);
    expect((await noted()).slice(2)).to.deep.equal([
      `before_stop bar ${stats.port} 2`,
      `after_stop bar ${stats.port} 2`,
    ]);
  });

  it('runs the post_setup_hook as part of every start, before the app', async () => {
    await startCell({}, { post_setup_hook: 'echo "setup $FOO $PWD" >> /notes/log' });
    await apps.startAndWait(cellId, { env: ['FOO=bar'] });
    expect(await noted()).to.deep.equal(['setup bar /home/vcap']);
  });

  for (const name of ['before_start', 'after_start']) {
    it(`fails a start whose ${name} hook fails`, async () => {
      await startCell({ [name]: 'exit 3' });
      const { droplet: app } = apps.start(cellId);
      const exited = await peer.next('droplet.exited', (data) => data.droplet === app);
      expect(exited).to.include({ reason: 'CRASHED', exit_description: 'failed to start', exit_status: -1 });
      expect(await apps.find(app)).to.include({ state: 'CRASHED' });
    });
  }

  it('goes on without a hook whose file is missing, and warns', async () => {
    await startCell({ before_start: note('before_start') });
    await rm(join(notes, 'before_start.sh'));
    await apps.startAndWait(cellId);
    expect(cell.logs.find(({ message }) => message === 'droplet.hook-script.missing')).to.include({
      log_level: 'warn',
    });
  });

  it('keeps an app STOPPING whose before_stop hook fails, and ends it by force when the cell itself ends', async () => {
    await startCell({ before_stop: 'exit 1' });
    const { app } = await apps.startAndWait(cellId);
    apps.stop(app);
    await eventually(() => cell.logs.find(({ message }) => message.startsWith('Failed stopping')));
    expect(await apps.find(app)).to.include({ state: 'STOPPING' });
    expect(await cell.terminate()).to.equal(0);
    await expectNothingLeft(join(cell.baseDirectory, 'base/depot'));
  });

  it('helps a stop on that a hook holds up, when it has taken its time', async () => {
    await startCell({ before_stop: 'sleep 1000' }, { instance: { stuck_stop_secs: 3 } });
    const { app } = await apps.startAndWait(cellId);
    const stopped = Date.now();
    apps.stop(app);
    await gone(app, 30_000);
    expect(Date.now() - stopped).to.be.at.least(3_000);
  });
});
