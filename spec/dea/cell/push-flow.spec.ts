import { randomUUID } from 'node:crypto';
import { expect } from 'chai';
import { type BlobServer, sha1, startBlobServer } from '../../support/blob-server.js';
import { type Cell, makeCell } from '../../support/cell.js';
import { eventually } from '../../support/eventually.js';
import { startNats } from '../../support/nats.js';
import { type Message, Peer } from '../../support/peer.js';
import { startMessage } from '../../support/start-message.js';
import { zipDirectory } from '../../support/zip.js';

/**
 * The conversation of docs/protocol/legacy-cc.md §11 with a cell A that stages and a cell B that runs the second
 * instance, message by message and field by field, from the Cloud Controller's side.
 */
describe('a push under a legacy Cloud Controller', function () {
  this.timeout(90_000);
  let nats: Awaited<ReturnType<typeof startNats>>;
  let blobs: BlobServer;
  let peer: Peer;
  let cells: Cell[];
  let ids: string[];

  before(async () => {
    nats = await startNats();
    blobs = await startBlobServer();
    peer = await Peer.connect(nats.url);
    cells = [];
    ids = [];
    for (const index of [0, 1]) {
      const mark = peer.mark;
      const cell = await makeCell({ natsUrl: nats.url, config: { index } });
      cells.push(cell);
      await cell.start();
      ids.push((await peer.next('dea.advertise', (data) => !ids.includes(data.id), { since: mark })).id);
    }
  });

  after(async () => {
    for (const cell of cells ?? []) await cell.dispose();
    await peer?.close();
    await blobs?.stop();
    await nats?.stop();
  });

  it('stages on one cell, runs on two, scales, maps a route, and stops without a trace', async () => {
    const [a, b] = ids as [string, string];
    const app = randomUUID();
    const version = randomUUID();
    const task = randomUUID().replaceAll('-', '');
    const packageUrl = blobs.put(`/staging/apps/${app}`, await zipDirectory('spec/fixtures/apps/procfile'));
    const pack = await zipDirectory('spec/fixtures/buildpacks/procfile-buildpack');
    const key = `${randomUUID()}_${sha1(pack)}`;
    const packUrl = blobs.put(`/v2/buildpacks/${key}/download`, pack);
    const start = startMessage({ droplet: app, version, sha1: null, executableUri: null, uris: ['shop.example.com'] });

    // (4) staging.stop, then staging.<id>.start; the client's call waits for the first reply.
    peer.publish('staging.stop', { app_id: app });
    const replies = peer.requestReplies(`staging.${a}.start`, {
      app_id: app,
      stack: 'bookworm',
      task_id: task,
      properties: {
        services: [],
        resources: { memory: 64, disk: 128, fds: 1024 },
        environment: ['CF_STACK=bookworm'],
        meta: { console: false },
      },
      download_uri: packageUrl,
      upload_uri: `${blobs.urlWithCredentials}/staging/droplets/${app}/upload`,
      buildpack_cache_download_uri: null,
      buildpack_cache_upload_uri: `${blobs.urlWithCredentials}/staging/buildpack_cache/${app}/upload`,
      start_message: start,
      admin_buildpacks: [{ key, url: packUrl }],
      egress_network_rules: [],
    });
    await eventually(() => (replies.length === 1 ? true : undefined));
    expect(replies[0]).to.have.all.keys('task_id', 'task_streaming_log_url', 'error');
    expect(replies[0]).to.include({ task_id: task, error: null });
    const logUrl = new URL(replies[0]!.task_streaming_log_url);
    expect(logUrl.protocol).to.equal('http:');
    expect(logUrl.hostname).to.match(/^[0-9a-f]{32}\.example\.com$/);
    expect(logUrl.pathname).to.equal(`/staging_tasks/${task}/file_path`);
    expect([...logUrl.searchParams.keys()]).to.deep.equal(['hmac', 'path', 'timestamp']);
    expect(logUrl.searchParams.get('hmac')).to.match(/^[0-9a-f]{128}$/);
    expect(logUrl.searchParams.get('path')).to.equal('/tmp/staged/logs/staging_task.log');

    // (5) upload with job, cache, second reply; then cell A starts index 0 itself.
    await eventually(() => (replies.length === 2 ? true : undefined), { timeoutMs: 30_000 });
    const [droplet, cache] = blobs.uploads;
    expect(droplet!.url).to.equal(`/staging/droplets/${app}/upload?async=true`);
    expect(Number(droplet!.headers['content-length'])).to.be.greaterThan(droplet!.content.length);
    expect(cache!.url).to.contain(`/staging/buildpack_cache/${app}/upload`);
    expect(replies[1]).to.deep.equal({
      task_id: task,
      detected_buildpack: 'Procfile',
      buildpack_key: key,
      droplet_sha1: sha1(droplet!.content),
      detected_start_command: 'perl server.pl',
      procfile: { web: 'perl server.pl', worker: 'sleep 100000' },
      app_id: app,
    });

    // (6) the Cloud Controller starts the other index on cell B, which fetches the droplet.
    const executableUri = blobs.put(`/staging/droplets/${app}/download`, droplet!.content);
    peer.publish(`dea.${b}.start`, { ...start, index: 1, sha1: sha1(droplet!.content), executableUri });

    // (7) routes and heartbeats of both.
    const routeOf = (dea: string) =>
      peer.next('router.register', (data) => data.app === app && data.dea === dea, { timeoutMs: 20_000 });
    const routes = await Promise.all(ids.map(routeOf));
    for (const [index, route] of routes.entries()) {
      expect(route).to.deep.include({ uris: ['shop.example.com'], tags: { component: `dea-${index}` } });
      const environment = (await (await fetch(`http://${route.host}:${route.port}/env`)).json()) as Message;
      expect(environment).to.include({ CF_INSTANCE_INDEX: String(index), PORT: String(route.port) });
    }
    expect(blobs.requests).to.include(`GET /staging/droplets/${app}/download`);
    for (const id of ids) {
      await peer.next(
        'dea.heartbeat',
        (data) => data.dea === id && data.droplets.some((e: Message) => e.state === 'RUNNING'),
      );
    }

    // (8) the client polls the instances: one reply from each cell.
    const find = (filter: Message, count: number) =>
      peer.request('dea.find.droplet', { droplet: app, ...filter }, { count, timeoutMs: 2000 });
    const found = await find({ states: ['STARTING', 'RUNNING'], version }, 2);
    expect(found.map(({ index, dea }) => [index, dea])).to.have.deep.members([
      [0, a],
      [1, b],
    ]);
    for (const reply of found) {
      expect(reply).to.have.all.keys(
        'dea',
        'droplet',
        'version',
        'instance',
        'index',
        'state',
        'state_timestamp',
        'staged',
      );
      expect(reply.instance).to.match(/^[0-9a-f]{32}$/);
    }

    // Route map: a new version and instance ids; the health manager sees it at once.
    const newVersion = randomUUID();
    peer.publish('dea.update', { droplet: app, uris: ['shop.example.com', 'new.example.com'], version: newVersion });
    await eventually(async () => ((await find({ version: newVersion }, 2)).length === 2 ? true : undefined));
    expect(
      peer.all('router.register', { app }).filter(({ data }) => data.uris[0] === 'new.example.com'),
    ).to.have.lengthOf(2);

    // Scale down to one, by version and index.
    peer.publish('dea.stop', { droplet: app, version: newVersion, indices: [1] });
    await eventually(async () => ((await find({}, 2)).length === 1 ? true : undefined));

    // Stop.
    peer.publish('dea.stop', { droplet: app });
    await eventually(async () => ((await find({}, 1)).length === 0 ? true : undefined));
    expect(peer.all('droplet.exited')).to.deep.equal([]);
    expect(peer.all('router.unregister', { app }).length).to.be.at.least(2);
    for (const cell of cells) {
      expect(await cell.snapshot()).to.deep.include({ instances: [], staging_tasks: [] });
    }
    for (const id of ids) {
      await peer.next('dea.advertise', (data) => data.id === id && data.available_memory === 4096, {
        since: peer.mark,
      });
    }
  });
});
