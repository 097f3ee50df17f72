import { once } from 'node:events';
import { request as httpRequest, type IncomingHttpHeaders } from 'node:http';
import { request as httpsRequest } from 'node:https';
import { expect } from 'chai';
import { type HealthManagerConfig, healthManagerConfigSchema } from '../../lib/health-manager/config.js';
import { censusNames } from '../../lib/health-manager/decisions/census.js';
import { HealthManager } from '../../lib/health-manager/health-manager.js';
import { MemoryStore } from '../../lib/health-manager/store/memory/memory-store.js';
import { silentLogger } from '../../lib/logging/logger.js';
import { type BulkCloudController, bulkApps, startBulkCloudController } from '../support/bulk-cloud-controller.js';
import { type Certificate, CertificateAuthority } from '../support/certificates.js';
import { eventually } from '../support/eventually.js';
import { heartbeat } from '../support/health-world.js';
import { startMetron } from '../support/metron.js';
import { type NatsServer, startNats } from '../support/nats.js';
import { type Message, Peer } from '../support/peer.js';

interface Answer {
  status: number;
  headers: IncomingHttpHeaders;
  text: string;
}

const credentials = 'api:s:cret';

describe('a health manager', () => {
  let authority: CertificateAuthority;
  let agentCertificate: Certificate;
  let nats: NatsServer;
  let controller: BulkCloudController;
  let peer: Peer;
  let store: MemoryStore;
  let manager: HealthManager;
  let aborted = false;

  before(() => {
    authority = CertificateAuthority.create();
    agentCertificate = authority.issue({ commonName: 'an agent' });
  });

  after(() => authority.remove());

  beforeEach(async () => {
    nats = await startNats();
    controller = await startBulkCloudController();
    peer = await Peer.connect(nats.url);
    aborted = false;
  });

  afterEach(async () => {
    await manager.stop();
    await peer.close();
    await controller.stop();
    await nats.stop();
  });

  /** A heartbeat per second: everything takes a tenth of its usual time. */
  async function start(more: Record<string, unknown> = {}): Promise<void> {
    const server = authority.issue({ commonName: 'localhost', alternativeNames: 'IP:127.0.0.1' });
    const config: HealthManagerConfig = healthManagerConfigSchema.parse({
      heartbeat_period_in_seconds: 1,
      actual_freshness_ttl_in_heartbeats: storeTimes.actualFreshnessTtl,
      grace_period_in_heartbeats: 1,
      listener_heartbeat_sync_interval_in_milliseconds: 100,
      nats: [{ host: '127.0.0.1', port: nats.port }],
      cc_base_url: controller.url,
      cc_auth_user: 'bulk',
      cc_auth_password: 'password',
      api_server_address: '127.0.0.1',
      api_server_port: 0,
      api_server_username: 'api',
      api_server_password: 's:cret',
      metrics_server_port: 0,
      metrics_server_user: 'metrics',
      metrics_server_password: 'figures',
      http_heartbeat_server_address: '127.0.0.1',
      http_heartbeat_port: 0,
      ssl: { key_file: server.keyFile, cert_file: server.certFile, ca_file: authority.certFile },
      ...more,
    });
    store = new MemoryStore({ times: storeTimes, clock: () => Math.floor(Date.now() / 1000) });
    manager = HealthManager.create({
      config,
      store,
      localIp: '127.0.0.1',
      onAbort: () => {
        aborted = true;
      },
      logger: silentLogger,
    });
    await manager.start();
  }

  const storeTimes = { heartbeatTtl: 3, actualFreshnessTtl: 2, desiredFreshnessTtl: 12, crashCountTtl: 192 };

  async function call(
    port: number,
    method: string,
    path: string,
    { body, user }: { body?: string; user?: string | undefined } = {},
  ): Promise<Answer> {
    const headers = user === undefined ? {} : { authorization: `Basic ${Buffer.from(user).toString('base64')}` };
    const outgoing = httpRequest({ host: '127.0.0.1', port, method, path, headers, agent: false });
    outgoing.end(body);
    return answerOf(outgoing);
  }

  const api = (body: string, user: string | undefined = credentials) =>
    call(manager.ports.api!, 'POST', '/bulk_app_state', { body, user });

  async function sendHeartbeat(
    body: Uint8Array | string,
    { path = '/dea/heartbeat', method = 'POST', certificate = agentCertificate as Certificate | null } = {},
  ): Promise<Answer> {
    const outgoing = httpsRequest({
      ...{ host: '127.0.0.1', port: manager.ports.heartbeats!, method, path, agent: false, ca: authority.cert },
      ...(certificate && { key: certificate.key, cert: certificate.cert }),
    });
    outgoing.end(body);
    return answerOf(outgoing);
  }

  /** Lets an agent beat until the state is fresh. */
  async function becomeFresh(beat: () => void): Promise<void> {
    const timer = setInterval(beat, 500);
    try {
      const isFresh = async () => {
        const { isActualFresh, isDesiredFresh } = await store.freshness();
        return (isActualFresh && isDesiredFresh) || undefined;
      };
      await eventually(isFresh, { what: 'freshness', timeoutMs: 20_000 });
    } finally {
      clearInterval(timer);
    }
  }

  const known = (app: string) => store.getApps([{ app, version: 'v1' }]).then(([state]) => state);

  it('orders over NATS what is missing, and stops what is not wanted', async () => {
    controller.apps = bulkApps(1);
    await start();
    const beat = () => peer.connection.publish('dea.heartbeat', heartbeat('dea', [{ app: 'unwanted', instance: 'u' }]));
    const timer = setInterval(beat, 500);
    try {
      const [started, stopped] = await Promise.all(
        ['hm9000.start', 'hm9000.stop'].map((subject) => peer.next(subject, undefined, { timeoutMs: 30_000 })),
      );
      expect(started).to.include({ droplet: 'app-0', version: 'v1', instance_index: 0 });
      expect(Object.keys(started!)).to.eql(['message_id', 'droplet', 'version', 'instance_index']);
      expect(stopped).to.include({ droplet: 'unwanted', instance_guid: 'u', is_duplicate: false });
    } finally {
      clearInterval(timer);
    }
    expect(aborted).to.equal(false);
  });

  it('orders over HTTP where the Cloud Controller takes orders', async () => {
    await start({ cc_internal_url: controller.url });
    const beat = () => peer.connection.publish('dea.heartbeat', heartbeat('dea', [{ app: 'unwanted', instance: 'u' }]));
    const timer = setInterval(beat, 500);
    try {
      await eventually(() => controller.orders[0], { what: 'an order', timeoutMs: 30_000 });
    } finally {
      clearInterval(timer);
    }
    expect(controller.orders[0]!.path).to.equal('/internal/dea/hm9000/stop/unwanted');
  });

  it('36. takes heartbeats over mutual TLS, and says what it thinks of them', async () => {
    await start();
    const good = await sendHeartbeat(heartbeat('dea', [{ app: 'a', instance: 'g' }]));
    expect([good.status, good.text]).to.eql([202, '']);
    await eventually(() => known('a'), { what: 'the instance' });
    for (const body of ['', '{"dea":', '[]', 'null', '{}', '{"dea":""}', '{"dea":5}', '{"dea":"d","droplets":{}}']) {
      expect((await sendHeartbeat(body)).status, body).to.equal(400);
    }
    const partly = await sendHeartbeat(heartbeat('dea', [{ app: 'b', instance: 'h', index: '0' }]));
    expect(partly.status).to.equal(202);
  });

  it('answers as upstream on other paths and to other methods', async () => {
    await start();
    const wrongPath = await sendHeartbeat('', { path: '/dea/heartbeat/' });
    expect([wrongPath.status, wrongPath.text]).to.eql([404, '404 page not found\n']);
    const wrongMethod = await sendHeartbeat('', { method: 'GET' });
    expect([wrongMethod.status, wrongMethod.headers.allow, wrongMethod.text]).to.eql([
      405,
      'POST',
      'Method Not Allowed\n',
    ]);
  });

  it('36. shuts out who has no certificate, or one of another authority', async () => {
    await start();
    const stranger = CertificateAuthority.create();
    try {
      const foreign = stranger.issue({ commonName: 'an agent' });
      for (const certificate of [null, foreign]) {
        const failure = await sendHeartbeat('{"dea":"d"}', { certificate }).catch((error: unknown) => error);
        expect(failure).to.be.instanceOf(Error);
      }
    } finally {
      stranger.remove();
    }
  });

  it('34. tells what it knows of apps, to those who have the password', async () => {
    controller.apps = bulkApps(2);
    await start();
    await becomeFresh(() =>
      peer.connection.publish(
        'dea.heartbeat',
        heartbeat('2-dea', [{ app: 'app-0', instance: 'g', index: 0, since: 1435672356.4512 }]),
      ),
    );
    const questions = ['app-0', 'app-1', 'unknown'].map((droplet) => ({ droplet, version: 'v1' }));
    const answer = await api(JSON.stringify(questions));
    expect(answer.status).to.equal(200);
    const states = JSON.parse(answer.text);
    expect(Object.keys(states)).to.eql(['app-0', 'app-1']);
    expect(states['app-0']).to.eql({
      droplet: 'app-0',
      version: 'v1',
      desired: { id: 'app-0', version: 'v1', instances: 1, state: 'STARTED', package_state: 'STAGED' },
      instance_heartbeats: [
        {
          droplet: 'app-0',
          version: 'v1',
          instance: 'g',
          index: 0,
          state: 'RUNNING',
          state_timestamp: 1435672356.5,
          dea_guid: '2-dea',
        },
      ],
      crash_counts: [],
    });
    expect(states['app-1'].instance_heartbeats).to.eql([]);
    for (const body of ['[', '', '{}', '[]', 'null', '[5]', '[{"droplet":"a"}]']) {
      const empty = await api(body);
      expect([empty.status, empty.text], body).to.eql([200, '{}']);
    }
    expect((await api('[]', 'api:wrong')).status).to.equal(401);
  });

  it('34. asks for the password before anything else, and knows nothing while it is not fresh', async () => {
    controller.apps = bulkApps(1);
    await start();
    const port = manager.ports.api!;
    const stranger = await call(port, 'GET', '/nowhere');
    expect([stranger.status, stranger.headers['www-authenticate'], stranger.text]).to.eql([
      401,
      'Basic realm="API Authentication"',
      '',
    ]);
    expect((await api('[{"droplet":"app-0","version":"v1"}]')).text).to.equal('{}');
    expect((await call(port, 'GET', '/bulk_app_state', { user: credentials })).status).to.equal(405);
    expect((await call(port, 'POST', '/nowhere', { user: credentials })).status).to.equal(404);
  });

  it('35. answers questions on the bus, where an answer is wanted', async () => {
    controller.apps = bulkApps(1);
    await start();
    await becomeFresh(() => peer.connection.publish('dea.heartbeat', heartbeat('dea', [])));
    const ask = async (subject: string, question: Message) => {
      const [answer] = await peer.request(subject, question, { timeoutMs: 5000 });
      return answer!;
    };
    expect(await ask('app.state', { droplet: 'app-0', version: 'v1' })).to.include({ droplet: 'app-0', version: 'v1' });
    expect(await ask('app.state', { droplet: 'app-7', version: 'v1' })).to.eql({});
    expect(await ask('app.state', { droplet: 5 })).to.eql({});
    const many = await ask('app.state.bulk', [{ droplet: 'app-0', version: 'v1' }]);
    expect(Object.keys(many)).to.eql(['app-0']);
    peer.publish('app.state', { droplet: 'app-0', version: 'v1' });
  });

  it('replaces at once what an agent says to be leaving', async () => {
    controller.apps = bulkApps(1);
    await start();
    const beat = () => peer.connection.publish('dea.heartbeat', heartbeat('dea', [{ app: 'app-0', instance: 'g' }]));
    await becomeFresh(beat);
    beat();
    for (const reason of ['CRASHED', 'STOPPED']) {
      peer.publish('droplet.exited', { droplet: 'app-0', version: 'v1', instance: 'g', index: 0, reason });
    }
    peer.publishRaw('droplet.exited', 'garbage');
    peer.publishRaw('droplet.exited', '"garbage"');
    peer.publish('droplet.exited', { droplet: 'app-0', version: 'v1', instance: 'g', reason: 'DEA_EVACUATION' });
    await peer.next('hm9000.start');
    expect(peer.all('hm9000.start')).to.have.length(1);
  });

  it('holds the stops of an app as long as it is told to', async () => {
    await start();
    const port = manager.ports.api!;
    const hold = (method: string, body?: string) =>
      call(port, method, '/migration_holds/app-guid', { user: credentials, ...(body !== undefined && { body }) });
    expect((await hold('PUT', '{"seconds":60}')).status).to.equal(204);
    expect([...(await store.heldApps())]).to.eql(['app-guid']);
    expect((await hold('DELETE')).status).to.equal(204);
    expect((await store.heldApps()).size).to.equal(0);
    expect((await hold('PUT')).status).to.equal(204);
    for (const body of ['{"seconds":"1"}', '{"seconds":0}', '{'])
      expect((await hold('PUT', body)).status).to.equal(400);
    expect((await hold('POST')).status).to.equal(405);
  });

  it('shows its health to everybody, and its figures to those who have the password', async () => {
    await start();
    const port = manager.ports.metrics!;
    const health = await call(port, 'GET', '/healthz');
    expect([health.status, health.text]).to.eql([200, 'ok']);
    expect((await call(port, 'GET', '/varz')).status).to.equal(401);
    await eventually(
      async () => {
        const varz = JSON.parse((await call(port, 'GET', '/varz', { user: 'metrics:figures' })).text);
        expect(varz).to.include({ name: 'HM9000' });
        return varz.contexts[0].metrics.find(({ name }: { name: string }) => name === 'NumberOfDesiredApps');
      },
      { what: 'a figure' },
    );
    const page = await call(port, 'GET', '/metrics', { user: 'metrics:figures' });
    expect(page.text).to.match(/^hm_number_of_desired_apps -1$/m);
  });

  it('asks on the bus for the credentials that its configuration does not have', async () => {
    peer.connection.subscribe('cloudcontroller.bulk.credentials.default', {
      callback: (_error, message) => void message.respond('{"user":"told","password":"on the bus"}'),
    });
    await start({ cc_auth_user: '', cc_partition: 'default' });
    await eventually(() => controller.requests[0], { what: 'a fetch' });
    const expected = `Basic ${Buffer.from('told:on the bus').toString('base64')}`;
    expect(controller.requests[0]!.authorization).to.equal(expected);
  });

  describe('told to be as those of before 2014', () => {
    it('orders and answers in the words of that time', async () => {
      controller.apps = bulkApps(1);
      await start({ legacy_health_subjects: true, number_of_crashes_before_backoff_begins: 1 });
      expect(await peer.next('healthmanager.start')).to.eql({});
      const droplets = [
        { app: 'app-0', instance: 'crashed', state: 'CRASHED', since: 1435672356.4 },
        { app: 'unwanted', instance: 'u' },
      ];
      await becomeFresh(() => peer.connection.publish('dea.heartbeat', heartbeat('dea', droplets)));
      const timer = setInterval(() => peer.connection.publish('dea.heartbeat', heartbeat('dea', droplets)), 500);
      try {
        const [started, stopped] = await Promise.all(['health.start', 'health.stop'].map((name) => peer.next(name)));
        expect(started).to.eql({ droplet: 'app-0', version: 'v1', indices: [0], running: { v1: 0 } });
        expect(stopped).to.eql({ droplet: 'unwanted', version: 'v1', instances: { u: 'v1' }, running: { v1: 1 } });
        const ask = async (subject: string, question: Message) =>
          (await peer.request(subject, question, { timeoutMs: 5000 }))[0];
        const crashed = { instances: [{ instance: 'crashed', since: 1435672356 }] };
        const status = { droplet: 'app-0', version: 'v1', state: 'CRASHED' };
        expect(await ask('healthmanager.status', status)).to.eql(crashed);
        expect(await ask('healthmanager.status', { droplet: 'app-0', state: 'CRASHED' })).to.eql(crashed);
        const flapping = await ask('healthmanager.status', { ...status, state: 'FLAPPING' });
        expect(flapping!.indices.map(({ index }: Message) => index)).to.eql([0]);
        const questions = { droplets: [{ droplet: 'nobody', version: 'v1' }, ...[status]] };
        expect(await ask('healthmanager.health', questions)).to.eql({ droplet: 'app-0', version: 'v1', healthy: 0 });
        expect(peer.all('hm9000.start')).to.eql([]);
      } finally {
        clearInterval(timer);
      }
    });

    it('believes advertisements where nobody sends heartbeats, if it is told so', async () => {
      await start({ fresh_on_advertise: true });
      await becomeFresh(() => peer.publish('dea.advertise', { id: 'very old' }));
    });
  });

  it('tells Metron its figures, each in the name of the component that it is of', async () => {
    const metron = await startMetron();
    try {
      controller.apps = bulkApps(1);
      await start({ dropsonde_port: metron.port });
      const beat = () =>
        peer.connection.publish('dea.heartbeat', heartbeat('dea', [{ app: 'unwanted', instance: 'u' }]));
      await becomeFresh(beat);
      beat();
      peer.publish('droplet.exited', { droplet: 'app-0', version: 'v1', reason: 'DEA_EVACUATION' });
      const value = (origin: string, name: string) =>
        metron.envelopes.find((envelope) => envelope.origin === origin && envelope.value?.name === name)?.value;
      const counter = (origin: string, name: string) =>
        metron.envelopes.find((envelope) => envelope.origin === origin && envelope.counter?.name === name)?.counter;
      await eventually(() => counter('evacuator', 'StartEvacuating') && counter('analyzer', 'StopExtra'));
      expect(counter('analyzer', 'StopExtra')!.delta).to.equal(1);
      expect(value('listener', 'SavedHeartbeats')).to.eql({ name: 'SavedHeartbeats', value: 1, unit: 'Metric' });
      expect(value('listener', 'ReceivedHeartbeats')!.unit).to.equal('Metric');
      expect(value('fetcher', 'DesiredStateSyncTimeInMilliseconds')!.value).to.be.above(0);
      for (const name of censusNames) expect(value('analyzer', name), name).to.include({ unit: 'Metric' });
    } finally {
      await metron.stop();
    }
  });

  async function answerOf(outgoing: ReturnType<typeof httpRequest>): Promise<Answer> {
    const [response] = await once(outgoing, 'response');
    const parts: Buffer[] = [];
    for await (const part of response) parts.push(part);
    return { status: response.statusCode, headers: response.headers, text: Buffer.concat(parts).toString() };
  }
});
