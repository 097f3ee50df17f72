import { execFileSync } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { expect } from 'chai';
import { type BlobServer, sha1, startBlobServer } from '../../support/blob-server.js';
import { type Cell, makeCell } from '../../support/cell.js';
import { eventually } from '../../support/eventually.js';
import { startNats } from '../../support/nats.js';
import { type Message, Peer } from '../../support/peer.js';
import { startMessage } from '../../support/start-message.js';
import { zipDirectory } from '../../support/zip.js';

const fixtures = 'spec/fixtures';

/** Numbers in titles are those of docs/protocol/dea.md §25. */
describe('a cell that stages', function () {
  this.timeout(90_000);
  let nats: Awaited<ReturnType<typeof startNats>>;
  let blobs: BlobServer;
  let cell: Cell;
  let peer: Peer;
  let cellId: string;
  let packageUrl: string;

  before(async () => {
    nats = await startNats();
    blobs = await startBlobServer();
    packageUrl = blobs.put('/package.zip', await zipDirectory(`${fixtures}/apps/static`));
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

  /** An admin buildpack made of a fixture; gives the entry of the message. */
  async function buildpack(name: string): Promise<Message> {
    const content = await zipDirectory(`${fixtures}/buildpacks/${name}`);
    const key = `${name}_${sha1(content)}`;
    return { key, url: blobs.put(`/buildpacks/${key}`, content) };
  }

  async function stagingMessage(overrides: Message = {}): Promise<Message> {
    const app = randomUUID();
    return {
      app_id: app,
      task_id: randomUUID().replaceAll('-', ''),
      stack: 'bookworm',
      properties: {
        services: [],
        resources: { memory: 64, disk: 128, fds: 1024 },
        environment: ['FOO=bar'],
        meta: {},
      },
      download_uri: packageUrl,
      upload_uri: `${blobs.urlWithCredentials}/staging/droplets/${app}/upload`,
      buildpack_cache_download_uri: null,
      buildpack_cache_upload_uri: `${blobs.urlWithCredentials}/staging/buildpack_cache/${app}/upload`,
      start_message: null,
      admin_buildpacks: [await buildpack('procfile-buildpack'), await buildpack('static-buildpack')],
      egress_network_rules: [],
      ...overrides,
    };
  }

  const stage = (message: Message) => peer.requestReplies(`staging.${cellId}.start`, message);

  async function replies(received: Message[], count: number, timeoutMs = 60_000): Promise<Message[]> {
    await eventually(() => (received.length >= count ? true : undefined), { timeoutMs, what: `${count} replies` });
    return received;
  }

  const readLog = (url: string, more = '') => {
    const { pathname, search } = new URL(url);
    return fetch(`http://127.0.0.1:${cell.directoryServerPort}${pathname}${search}${more}`);
  };

  async function expectReleased(): Promise<void> {
    await eventually(async () => {
      const mark = peer.mark;
      const { available_memory } = await peer.next('dea.advertise', () => true, { since: mark });
      const workspaces = await readdir(join(cell.baseDirectory, 'base/staging'));
      const { staging_tasks } = await cell.snapshot();
      return available_memory === 4096 && workspaces.length === 0 && staging_tasks.length === 0 ? true : undefined;
    });
  }

  it('29: answers twice, streams its log, and delivers droplet and cache', async () => {
    const message = await stagingMessage();
    const received = stage(message);
    const [first] = await replies(received, 1);
    expect(first).to.deep.include({ task_id: message.task_id, error: null });
    expect(blobs.uploads).to.deep.equal([]);
    const log = await (await readLog(first!.task_streaming_log_url, '&tail&tail_offset=0'))
      .text()
      .catch((error) => error);
    expect(String(log)).to.contain('-----> Downloaded app package (').and.to.contain('-----> static: ');
    const [, second, ...more] = await replies(received, 2);
    expect(more).to.deep.equal([]);
    const [droplet, cache] = blobs.uploads;
    expect(second).to.deep.equal({
      task_id: message.task_id,
      detected_buildpack: 'Static',
      buildpack_key: message.admin_buildpacks[1].key,
      droplet_sha1: sha1(droplet!.content),
      detected_start_command: 'perl .static/serve.pl',
      procfile: { web: 'perl .static/serve.pl' },
      app_id: message.app_id,
    });
    expect(droplet!.url).to.contain('async=true');
    expect(droplet!.disposition).to.contain('name="upload[droplet]"; filename="droplet.tgz"');
    expect(cache!.disposition).to.contain('name="upload[droplet]"; filename="buildpack_cache.tgz"');
    expect(blobs.requests.filter((request) => request.includes('/staging/jobs/'))).to.have.lengthOf(2);
    const listing = execFileSync('tar', ['tzf', '-'], { input: droplet!.content }).toString().split('\n');
    expect(listing).to.include.members(['./app/index.html', './logs/staging_task.log', './tmp/', './staging_info.yml']);
    await expectReleased();
  });

  it('hands the buildpack its cache of the last time', async () => {
    const message = await stagingMessage();
    await replies(stage(message), 2);
    const again = {
      ...message,
      task_id: 'again',
      buildpack_cache_download_uri: `${blobs.urlWithCredentials}/staging/buildpack_cache/${message.app_id}/download`,
    };
    const [first, second] = await replies(stage(again), 2);
    expect(first!.error).to.equal(null);
    expect(second).not.to.have.property('error');
    const droplet = blobs.uploads.filter(({ disposition }) => disposition.includes('droplet.tgz')).at(-1)!;
    const count = execFileSync('tar', ['xzfO', '-', './app/.static/stagings'], { input: droplet.content });
    expect(count.toString().trim()).to.equal('2');
  });

  it('starts the first instance from the droplet that it made', async () => {
    const app = randomUUID();
    const mark = peer.mark;
    const start = startMessage({ droplet: app, sha1: null, executableUri: null, uris: ['static.example.com'] });
    const [, second] = await replies(stage(await stagingMessage({ app_id: app, start_message: start })), 2);
    expect(second).not.to.have.property('error');
    const route = await peer.next('router.register', (data) => data.app === app, { since: mark, timeoutMs: 20_000 });
    const page = await fetch(`http://${route.host}:${route.port}/`);
    expect(page.status).to.equal(200);
    peer.publish('dea.stop', { droplet: app });
    await expectReleased();
  });

  it('shares the queue of old Cloud Controllers', async () => {
    const received = peer.requestReplies('staging', await stagingMessage());
    const [, second] = await replies(received, 2);
    expect(second).to.include({ detected_buildpack: 'Static' });
  });

  it('uses the buildpack that was chosen, without detection', async () => {
    const packs = [await buildpack('static-buildpack'), await buildpack('procfile-buildpack')];
    const message = await stagingMessage({ admin_buildpacks: packs });
    message.properties.buildpack_key = packs[1]!.key;
    const [, second] = await replies(stage(message), 2);
    expect(second).to.include({ buildpack_key: packs[1]!.key, detected_buildpack: null, detected_start_command: null });
  });

  const failures: [title: string, packs: string[], error: string, type: string][] = [
    ['31: nothing detects the app', ['procfile-buildpack'], 'Script exited with status 1', 'NoAppDetectedError'],
    ['the compile fails', ['compile-fails'], 'Script exited with status 1', 'BuildpackCompileFailed'],
    ['the release fails', ['release-invalid'], 'Script exited with status 1', 'BuildpackReleaseFailed'],
  ];
  for (const [title, packs, error, type] of failures) {
    it(`${title}: the second reply says ${type}`, async () => {
      const message = await stagingMessage({ admin_buildpacks: await Promise.all(packs.map(buildpack)) });
      const [first, second] = await replies(stage(message), 2);
      expect(first!.error).to.equal(null);
      expect(second).to.include({ error, task_id: message.task_id, droplet_sha1: null });
      expect(second!.error_info).to.include({ type });
      await expectReleased();
    });
  }

  it('32: ends a build that takes too long', async () => {
    const limited = await makeCell({ natsUrl: nats.url, config: { index: 1, staging: { max_staging_duration: 2 } } });
    try {
      const mark = peer.mark;
      await limited.start();
      const { id } = await peer.next('dea.advertise', (data) => data.id !== cellId, { since: mark });
      const message = await stagingMessage({ admin_buildpacks: [await buildpack('endless-compile')] });
      const received = peer.requestReplies(`staging.${id}.start`, message);
      await replies(received, 1);
      const setUpAt = Date.now();
      const [, second] = await replies(received, 2);
      expect(second).to.include({ error: 'Staging in container timed out' });
      expect(Date.now() - setUpAt).to.be.lessThan(5000);
      await eventually(async () =>
        (await readdir(join(limited.baseDirectory, 'base/staging'))).length === 0 ? true : undefined,
      );
    } finally {
      await limited.dispose();
    }
  });

  it('33: stops a task during its compile, with one last reply and no upload', async () => {
    const message = await stagingMessage({ admin_buildpacks: [await buildpack('endless-compile')] });
    const received = stage(message);
    await replies(received, 1);
    const uploads = blobs.uploads.length;
    peer.publish('staging.stop', { app_id: message.app_id });
    const [, second] = await replies(received, 2, 20_000);
    expect(second).to.include({ task_id: message.task_id, error: 'Error staging: task stopped' });
    await expectReleased();
    expect(received).to.have.lengthOf(2);
    expect(blobs.uploads).to.have.lengthOf(uploads);
  });

  it('33: stops a task while its package is on the way, with the only reply', async () => {
    let closed = false;
    const download_uri = blobs.handle('/slow.zip', (_request, response) => {
      response.writeHead(200, { 'Content-Length': 1000 });
      response.write('x');
      response.on('close', () => {
        closed = true;
      });
    });
    const message = await stagingMessage({ download_uri });
    const received = stage(message);
    await eventually(() => (blobs.requests.includes('GET /slow.zip') ? true : undefined));
    peer.publish('dea.stop', { droplet: message.app_id });
    expect(await replies(received, 1)).to.deep.equal([
      { task_id: message.task_id, app_id: message.app_id, error: 'Error staging: task stopped' },
    ]);
    await expectReleased();
    expect(received).to.have.lengthOf(1);
    expect(closed).to.equal(true);
  });

  it('34: says in the only reply that there is no room', async () => {
    const message = await stagingMessage({ disk_limit: 1_000_000, memory_limit: 1_000_000 });
    const received = stage(message);
    await replies(received, 1);
    expect(received).to.deep.equal([{ task_id: message.task_id, error: 'Not enough disk resources available' }]);
  });

  it('names the field that a staging message lacks', async () => {
    const { upload_uri: _, ...message } = await stagingMessage();
    const [only] = await replies(stage(message), 1);
    expect(only).to.include({ task_id: message.task_id });
    expect(only!.error).to.contain('upload_uri');
  });

  const refused: [title: string, overrides: () => Message, error: RegExp][] = [
    ['an unknown stack', () => ({ stack: 'x' }), /^Error staging: Stack x does not exist$/],
    [
      'no package',
      () => ({ download_uri: `${blobs.urlWithCredentials}/none` }),
      /^Error downloading: HTTP status: 404$/,
    ],
    [
      'nobody at the package URL',
      () => ({ download_uri: 'http://u:secret@127.0.0.1:1/x' }),
      /^Error downloading: Response status: unknown, Error: .*ECONNREFUSED/,
    ],
    [
      'a bad egress rule',
      () => ({ egress_network_rules: [{ protocol: 'x', destination: '0.0.0.0/0' }] }),
      /^Invalid protocol in egress rule: x$/,
    ],
  ];
  for (const [title, overrides, error] of refused) {
    it(`answers twice with the error for ${title}`, async () => {
      const received = stage(await stagingMessage(overrides()));
      const [first, second] = await replies(received, 2);
      expect(first!.error).to.match(error);
      expect(second!.error).to.equal(first!.error);
      expect(first!.error).not.to.contain('secret');
      await expectReleased();
    });
  }

  it('fails when the package is no zip, the upload is refused, or the job fails', async () => {
    const noZip = stage(await stagingMessage({ download_uri: blobs.put('/text', Buffer.from('no zip')) }));
    expect((await replies(noZip, 2))[1]).to.include({ error: 'Script exited with status 9' });

    const upload_uri = blobs.handle('/refused', (request, response) => {
      request.resume().on('end', () => response.writeHead(500).end());
    });
    const uploadRefused = stage(await stagingMessage({ upload_uri }));
    expect((await replies(uploadRefused, 2))[1]).to.include({ error: 'Error uploading: (Upload failed - status 500)' });

    blobs.jobStates = ['running', 'failed'];
    try {
      const jobFailed = stage(await stagingMessage());
      expect((await replies(jobFailed, 2))[1]).to.include({ error: 'Error uploading: (Staging upload failed.)' });
    } finally {
      blobs.jobStates = ['finished'];
    }
  });

  it('goes on without the buildpack cache when that cannot be fetched or stored', async () => {
    const message = await stagingMessage({
      buildpack_cache_download_uri: `${blobs.urlWithCredentials}/none`,
      buildpack_cache_upload_uri: 'http://127.0.0.1:1/cache',
    });
    const [, second] = await replies(stage(message), 2);
    expect(second).not.to.have.property('error');
  });

  it('stops a buildpack that writes gigabytes at the disk limit, and the cell does not notice', async () => {
    const message = await stagingMessage({ admin_buildpacks: [await buildpack('filling-compile')] });
    const [, second] = await replies(stage(message), 2);
    expect(second!.error).to.equal('Script exited with status 1');
    await expectReleased();
  });

  it('ends at the memory limit as a whole, whatever the buildpack makes of it', async () => {
    const message = await stagingMessage({ admin_buildpacks: [await buildpack('hungry-compile')] });
    const [, second] = await replies(stage(message), 2);
    expect(second!.error).to.equal('Script exited with status 255');
    await expectReleased();
  });
});
