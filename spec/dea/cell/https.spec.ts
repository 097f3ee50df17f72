import { randomUUID } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { expect } from 'chai';
import { type BlobServer, sha1, startBlobServer } from '../../support/blob-server.js';
import { type Cell, freePort, makeCell } from '../../support/cell.js';
import { type Certificate, CertificateAuthority } from '../../support/certificates.js';
import { makeDroplet } from '../../support/droplets.js';
import { eventually } from '../../support/eventually.js';
import { type HealthManager, startHealthManager } from '../../support/health-manager.js';
import { bodyOf, type HttpServer, startHttpServer } from '../../support/http-server.js';
import { askSecurely } from '../../support/https-client.js';
import { startNats } from '../../support/nats.js';
import { type Message, Peer } from '../../support/peer.js';
import { startMessage } from '../../support/start-message.js';
import { zipDirectory } from '../../support/zip.js';

/** Numbers in titles are those of docs/protocol/dea.md §25. */
describe('a cell under a Cloud Controller that speaks HTTPS', function () {
  this.timeout(90_000);
  let authority: CertificateAuthority;
  let client: Certificate;
  let nats: Awaited<ReturnType<typeof startNats>>;
  let blobs: BlobServer;
  let healthManager: HealthManager;
  let controller: HttpServer;
  let completions: Message[];
  let answer: (request: IncomingMessage, response: ServerResponse) => void;
  let cell: Cell;
  let peer: Peer;
  let port: number;
  let packageUrl: string;
  let buildpack: Message;

  before(async () => {
    authority = CertificateAuthority.create();
    client = authority.issue({ commonName: 'cloud controller' });
    const own = authority.issue({ alternativeNames: 'IP:127.0.0.1' });
    nats = await startNats();
    blobs = await startBlobServer();
    packageUrl = blobs.put('/package.zip', await zipDirectory('spec/fixtures/apps/static'));
    const content = await zipDirectory('spec/fixtures/buildpacks/static-buildpack');
    buildpack = { key: `static_${sha1(content)}`, url: blobs.put('/buildpack', content) };
    healthManager = await startHealthManager(authority);
    controller = await startHttpServer(async (request, response) => {
      const body = (await bodyOf(request)).toString();
      if (request.method === 'POST') completions.push({ url: request.url, ...JSON.parse(body) });
      answer(request, response);
    });
    peer = await Peer.connect(nats.url);
    port = await freePort();
    cell = await makeCell({
      natsUrl: nats.url,
      config: {
        service_name: 'dea-0.example.com',
        ssl: { port, key_file: own.keyFile, cert_file: own.certFile, ca_file: authority.certFile },
        hm9000: healthManager.config,
        cc_url: `http://internal:secret@127.0.0.1:${controller.port}`,
      },
    });
    await cell.start();
  });

  beforeEach(() => {
    completions = [];
    answer = (_request, response) => void response.end('{}');
    healthManager.answer = (_request, response) => void response.writeHead(202).end();
  });

  after(async () => {
    await cell?.dispose();
    await peer?.close();
    await controller?.stop();
    await healthManager?.stop();
    await blobs?.stop();
    await nats?.stop();
    authority?.remove();
  });

  const post = (path: string, message: Message) =>
    askSecurely({
      ...{ port, path, key: client.key, cert: client.cert, serverCa: authority.cert },
      headers: { 'Content-Type': 'application/json' },
      body: JSON.stringify(message),
    });

  function stagingMessage(overrides: Message = {}): Message {
    const app = randomUUID();
    return {
      app_id: app,
      task_id: randomUUID(),
      stack: 'bookworm',
      properties: { services: [], resources: {}, environment: [], meta: {} },
      download_uri: packageUrl,
      upload_uri: `${blobs.urlWithCredentials}/staging/droplets/${app}/upload`,
      start_message: null,
      admin_buildpacks: [buildpack],
      egress_network_rules: [],
      accepts_http: true,
      ...overrides,
    };
  }

  async function expectReleased(): Promise<void> {
    await eventually(
      async () => {
        const { available_memory } = await peer.next('dea.advertise', () => true, { since: peer.mark });
        return available_memory === 4096 ? true : undefined;
      },
      { timeoutMs: 30_000, what: 'the release of the reservation' },
    );
  }

  const completed = (count = 1) =>
    eventually(() => (completions.length >= count ? completions : undefined), {
      timeoutMs: 60_000,
      what: `${count} completions`,
    });

  it('1: advertises the address of its HTTPS interface', async () => {
    expect(await peer.next('dea.advertise')).to.include({ url: `https://dea-0.example.com:${port}` });
  });

  it('starts an app by POST /v1/apps', async () => {
    const droplet = await makeDroplet();
    const message = startMessage({ sha1: sha1(droplet), executableUri: blobs.put('/droplet', droplet) });
    const mark = peer.mark;
    expect(await post('/v1/apps', message)).to.include({ status: 202, body: '202' });
    const route = await peer.next('router.register', ({ app }) => app === message.droplet, {
      since: mark,
      timeoutMs: 30_000,
    });
    expect(await (await fetch(`http://${route.host}:${route.port}/hello`)).text()).to.equal('hello from 0');
    peer.publish('dea.stop', { droplet: message.droplet as string });
    await expectReleased();
  });

  it('6: accepts an invalid start message, logs it, and changes nothing', async () => {
    expect(await post('/v1/apps', startMessage({ uris: 'x' }))).to.include({ status: 202 });
    await eventually(() => cell.logs.find(({ message }) => message === 'Error validating instance: '));
    await expectReleased();
  });

  it('30: stages by POST /v1/stage, and tells the Cloud Controller until it takes it', async () => {
    const statuses = [500, 500, 200];
    answer = (_request, response) => void response.writeHead(statuses.shift() ?? 200).end('{}');
    const message = stagingMessage();
    const { id } = await peer.next('dea.advertise');
    expect(await post('/v1/stage', message)).to.include({ status: 202, body: '202' });
    await completed(3);
    for (const completion of completions) {
      expect(completion).to.deep.include({
        url: `/internal/dea/staging/${message.app_id}/completed`,
        task_id: message.task_id,
        app_id: message.app_id,
        dea_id: id,
        detected_buildpack: 'Static',
        buildpack_key: buildpack.key,
        droplet_sha1: sha1(blobs.uploads.at(-1)!.content),
      });
      expect(completion).not.to.have.property('error');
    }
    await expectReleased();
    expect(completions).to.have.lengthOf(3);
  });

  it('starts the first instance after the Cloud Controller knows of the droplet', async () => {
    const start = startMessage({ sha1: null, executableUri: null, uris: ['staged.example.com'] });
    const app = start.droplet as string;
    let isAnswered = false;
    answer = (_request, response) => {
      expect(peer.all('router.register', { app })).to.deep.equal([]);
      isAnswered = true;
      response.end('{}');
    };
    await post('/v1/stage', stagingMessage({ app_id: app, start_message: start }));
    await peer.next('router.register', (data) => data.app === app, { timeoutMs: 60_000 });
    expect(isAnswered).to.equal(true);
    peer.publish('dea.stop', { droplet: app });
    await expectReleased();
  });

  it('does not start the first instance of an app that is stopped before the Cloud Controller knows of the droplet', async () => {
    const start = startMessage({ sha1: null, executableUri: null });
    const app = start.droplet as string;
    answer = (_request, response) => {
      peer.publish('dea.stop', { droplet: app });
      setTimeout(() => response.end('{}'), 300);
    };
    await post('/v1/stage', stagingMessage({ app_id: app, start_message: start }));
    await completed();
    await expectReleased();
    const staged = sha1(blobs.uploads.at(-1)!.content);
    answer = (_request, response) => void response.end('{}');
    // One that is told of later comes and goes meanwhile.
    await post('/v1/stage', stagingMessage());
    await completed(2);
    await expectReleased();
    expect(completions[0]).to.include({ app_id: app, droplet_sha1: staged });
    expect((await cell.snapshot()).instances.filter(({ application_id: id }) => id === app)).to.deep.equal([]);
    expect(peer.all('router.register', { app })).to.deep.equal([]);
  });

  it('30: gives the reservation back when the Cloud Controller cannot be reached', async () => {
    answer = (request) => void request.socket.destroy();
    await post('/v1/stage', stagingMessage({ admin_buildpacks: [] }));
    await completed(3);
    await expectReleased();
    expect(completions).to.have.lengthOf(3);
  });

  it('completes refused, invalid and stopped stagings with the app id', async () => {
    const tooLarge = stagingMessage({ memory_limit: 1_000_000 });
    await post('/v1/stage', tooLarge);
    const { upload_uri: _, ...invalid } = stagingMessage();
    await post('/v1/stage', invalid);
    const [first, second] = await completed(2);
    expect(first).to.include({ app_id: tooLarge.app_id, error: 'Not enough memory resources available' });
    expect(second).to.include({ app_id: invalid.app_id, task_id: invalid.task_id });
    expect(second!.error).to.contain('upload_uri');

    const download_uri = blobs.handle('/slow.zip', (_request, response) => {
      response.writeHead(200, { 'Content-Length': 1000 }).write('x');
    });
    const stopped = stagingMessage({ download_uri });
    await post('/v1/stage', stopped);
    await eventually(() => (blobs.requests.includes('GET /slow.zip') ? true : undefined), { timeoutMs: 20_000 });
    peer.publish('staging.stop', { app_id: stopped.app_id });
    await completed(3);
    expect(completions[2]).to.include({ app_id: stopped.app_id, error: 'Error staging: task stopped' });
    await expectReleased();
  });

  it('23: beats over TLS beside NATS, with the same content', async () => {
    const mark = peer.mark;
    const before = healthManager.heartbeats.length;
    const onBus = await peer.next('dea.heartbeat', () => true, { since: mark });
    await eventually(() => (healthManager.heartbeats.length >= before + 2 ? true : undefined));
    expect(healthManager.heartbeats.at(-1)!.body).to.deep.equal(onBus);
    expect(healthManager.connections).to.equal(1);
  });

  it('23: advertises on time while the health manager hangs or fails', async () => {
    for (const misbehave of [
      () => {},
      (_request: IncomingMessage, response: ServerResponse) => void response.writeHead(500).end(),
      (request: IncomingMessage) => void request.socket.destroy(),
    ]) {
      healthManager.answer = misbehave;
      const before = healthManager.heartbeats.length;
      await eventually(() => (healthManager.heartbeats.length > before ? true : undefined), { timeoutMs: 20_000 });
      const mark = peer.mark;
      await eventually(
        () =>
          peer.received.slice(mark).filter(({ subject }) => subject === 'dea.advertise').length > 3 ? true : undefined,
        { timeoutMs: 10_000 },
      );
      const times = peer.received
        .slice(mark)
        .filter(({ subject }) => subject === 'dea.advertise')
        .map(({ at }) => at);
      expect((times[3]! - times[0]!) / 3).to.be.closeTo(1000, 150);
      expect(healthManager.open).to.be.at.most(1);
    }
  });

  it('26: takes no work while it ends, and completes the stagings that its end stops', async () => {
    const droplet = await makeDroplet();
    const stubborn = startMessage({
      sha1: sha1(droplet),
      executableUri: blobs.put('/droplet', droplet),
      env: ['IGNORE_TERM=1'],
    });
    const mark = peer.mark;
    await post('/v1/apps', stubborn);
    await peer.next('router.register', ({ app }) => app === stubborn.droplet, { since: mark, timeoutMs: 30_000 });
    const download_uri = blobs.handle('/endless.zip', (_request, response) => {
      response.writeHead(200, { 'Content-Length': 1000 }).write('x');
    });
    const message = stagingMessage({ download_uri });
    await post('/v1/stage', message);
    await eventually(() => (blobs.requests.includes('GET /endless.zip') ? true : undefined), { timeoutMs: 20_000 });

    const ended = cell.terminate();
    await peer.next('dea.shutdown');
    expect(await post('/v1/apps', startMessage())).to.include({ status: 503, body: '503' });
    expect(await post('/v1/stage', stagingMessage())).to.include({ status: 503, body: '503' });
    expect(await ended).to.equal(0);
    expect(completions).to.have.lengthOf(1);
    expect(completions[0]).to.include({ app_id: message.app_id, error: 'Error staging: task stopped' });
  });
});
