import { expect } from 'chai';
import { basicAuthorization } from '../../../lib/http/url.js';
import { eventually } from '../../support/eventually.js';
import { clientToken, type RunningMiniCc, startMiniCc } from '../../support/mini-cc.js';
import { type NatsServer, startNats } from '../../support/nats.js';
import { type Message, Peer } from '../../support/peer.js';
import { askController, PlayedBridge } from '../../support/played-bridge.js';

const buildpackFacts = (key: string) => ({ buildpack_key: key, detected_buildpack: 'Scripted' });

describe('apps on Diego', () => {
  let nats: NatsServer;
  let peer: Peer;
  let cc: RunningMiniCc;
  let bridge: PlayedBridge;
  let buildpackKey: string;

  before(async () => {
    nats = await startNats();
    peer = await Peer.connect(nats.url);
    bridge = await PlayedBridge.start();
    cc = await startMiniCc({ natsUrl: nats.url, config: { ...bridge.config, default_to_diego_backend: true } });
    const { guid } = await cc.addBuildpack('scripted', 'spec/fixtures/buildpacks/static-buildpack');
    const { resources } = (await cc.call('GET', '/v2/buildpacks')).body;
    buildpackKey = `${guid}_${resources[0].sha1}`;
  });

  after(async () => {
    await cc?.stop();
    await bridge?.stop();
    await peer?.close();
    await nats?.stop();
  });

  beforeEach(() => {
    bridge.requests.length = 0;
    bridge.processes.clear();
    bridge.startsAs = 'RUNNING';
    bridge.refuse = () => undefined;
  });

  const change = (guid: string, fields: Message) => cc.call('PUT', `/v2/apps/${guid}`, fields);
  const appOf = async (guid: string) => (await cc.call('GET', `/v2/apps/${guid}`)).body;
  const complete = (stagingGuid: string, body: unknown, authorization?: string) =>
    askController(cc.url, 'POST', `/internal/staging/${stagingGuid}/completed`, body, authorization);
  const staged = () => ({
    execution_metadata: '{"m":1}',
    detected_start_command: { web: 'run it' },
    lifecycle_data: buildpackFacts(buildpackKey),
  });
  const processOf = ({ guid, version }: Message) => `${guid}-${version}`;
  /** What came from the Cloud Controller over the bus that agents would act upon. */
  const onBus = (guid: string) =>
    peer.received.filter(
      ({ subject, data }) => /^(dea|staging)\./.test(subject) && [data.droplet, data.app_id].includes(guid),
    );

  /** An app with a package whose staging is under way. */
  async function stagingApp(instances = 1): Promise<Message> {
    const { body } = await cc.call('POST', '/v2/apps', {
      name: `app-${Math.random()}`,
      instances,
      routes: ['a.localhost'],
    });
    await cc.uploadBits(body.guid, 'spec/fixtures/apps/static');
    expect((await change(body.guid, { state: 'STARTED' })).status).to.equal(201);
    return body;
  }

  /** Uploads a droplet, as a cc-uploader does. */
  async function uploadDroplet({ lifecycle_data: data }: Message): Promise<void> {
    const url = new URL(data.droplet_upload_uri);
    const authorization = basicAuthorization({
      user: decodeURIComponent(url.username),
      password: decodeURIComponent(url.password),
    });
    const form = new FormData();
    form.append('upload[droplet]', new Blob([`droplet ${Math.random()}`]), 'droplet.tgz');
    const response = await fetch(`${url.origin}${url.pathname}`, {
      method: 'POST',
      headers: { Authorization: authorization },
      body: form,
    });
    expect(response.status).to.equal(200);
  }

  async function runningApp(instances = 1): Promise<Message> {
    const { guid } = await stagingApp(instances);
    await uploadDroplet(bridge.bodies('PUT', '/v1/staging/').at(-1)!);
    expect((await complete(bridge.lastStaging, staged())).status).to.equal(200);
    return appOf(guid);
  }

  it('are staged by the bridge, desired when that has ended well, and never told to agents', async () => {
    const { guid } = await stagingApp(2);
    const [request] = bridge.bodies('PUT', '/v1/staging/') as [Message];
    expect(bridge.lastStaging.startsWith(`${guid}-`)).to.equal(true);
    expect(new URL(request.completion_callback).pathname).to.equal(`/internal/staging/${bridge.lastStaging}/completed`);
    expect(request.lifecycle_data.buildpacks.map(({ key }: Message) => key)).to.deep.equal([buildpackKey]);
    await uploadDroplet(request);
    expect(await complete(bridge.lastStaging, staged())).to.deep.equal({ status: 200, body: {} });

    const app = await appOf(guid);
    expect(app).to.include({
      package_state: 'STAGED',
      detected_buildpack: 'Scripted',
      detected_start_command: 'run it',
      execution_metadata: '{"m":1}',
      running_instances: 2,
    });
    const [message] = bridge.bodies('PUT', '/v1/apps/') as [Message];
    expect(message).to.include({ process_guid: processOf(app), num_instances: 2, droplet_hash: app.droplet_hash });
    expect((await fetch(message.droplet_uri)).status).to.equal(200);
    expect(onBus(guid)).to.deep.equal([]);
  });

  it('are told of the end of a staging where its message says, with the credentials that it has', async () => {
    await stagingApp();
    const callback = new URL(bridge.bodies('PUT', '/v1/staging/')[0]!.completion_callback);
    const authorization = basicAuthorization({
      user: decodeURIComponent(callback.username),
      password: decodeURIComponent(callback.password),
    });
    const error = { id: 'InsufficientResources', message: 'insufficient resources: memory' };
    const { status } = await askController(callback.origin, 'POST', callback.pathname, { error }, authorization);
    expect(status).to.equal(200);
  });

  it('are failed and stopped when the staging fails, with its reason', async () => {
    const { guid } = await stagingApp();
    const error = { id: 'NoAppDetectedError', message: 'staging failed' };
    expect((await complete(bridge.lastStaging, { error })).status).to.equal(200);
    expect(await appOf(guid)).to.include({
      package_state: 'FAILED',
      state: 'STOPPED',
      staging_failed_reason: 'NoAppDetectedError',
    });
    expect((await cc.call('GET', `/v2/apps/${guid}/instances`)).body.code).to.equal(170_003);
  });

  it('take no notice of the end of another staging, or of one that has ended', async () => {
    const { guid } = await stagingApp();
    expect((await complete(`${guid}-another`, staged())).status).to.equal(200);
    expect((await appOf(guid)).package_state).to.equal('PENDING');
    const stagingGuid = bridge.lastStaging;
    await complete(stagingGuid, { error: { id: 'StagingError', message: 'no' } });
    expect((await complete(stagingGuid, staged())).status).to.equal(200);
    expect((await appOf(guid)).package_state).to.equal('FAILED');
  });

  it('refuse the end of a staging for reasons', async () => {
    const [onCells] = cc.insertApps([{ diego: false, package_state: 'PENDING', staging_task_id: 't' }]);
    const codeOf = async (guid: string, body: unknown, authorization?: string) => {
      const answer = await complete(guid, body, authorization);
      return [answer.status, answer.body.code];
    };
    expect(await codeOf('5a0e5f2c-7f3e-4b57-9a55-000000000000-t', staged())).to.deep.equal([404, 10_000]);
    expect(await codeOf(`${onCells}-t`, staged())).to.deep.equal([403, 320_004]);
    const { guid } = await stagingApp();
    expect(await codeOf(bridge.lastStaging, staged(), 'Basic bm86bm8=')).to.deep.equal([401, 10_002]);
    expect(await codeOf(bridge.lastStaging, '{"no json')).to.deep.equal([400, 1001]);
    expect((await appOf(guid)).package_state).to.equal('PENDING');
    expect(await codeOf(bridge.lastStaging, { error: { id: 1 } })).to.deep.equal([400, 10_004]);
    expect(await appOf(guid)).to.include({ package_state: 'FAILED', state: 'STOPPED' });
  });

  it('tell why they cannot be staged, and are failed then', async () => {
    const body = JSON.stringify({ error: { id: 'StagingError', message: 'no bundle for that stack' } });
    bridge.refuse = ({ path }) => (path.startsWith('/v1/staging/') ? { status: 500, body } : undefined);
    const { guid } = (await cc.call('POST', '/v2/apps', { name: 'unstageable' })).body;
    await cc.uploadBits(guid, 'spec/fixtures/apps/static');
    const answer = await change(guid, { state: 'STARTED' });
    expect([answer.status, answer.body.code]).to.deep.equal([500, 170_011]);
    expect(answer.body.description).to.include('no bundle for that stack');
    expect(await appOf(guid)).to.include({ package_state: 'FAILED', state: 'STOPPED' });
  });

  it('end a staging with their stop, and begin another one by a restage', async () => {
    const { guid } = await stagingApp();
    const first = bridge.lastStaging;
    await change(guid, { state: 'STOPPED' });
    await eventually(() => (bridge.lines.includes(`DELETE /v1/staging/${first}`) ? true : undefined));
    expect((await complete(first, staged())).status).to.equal(200);
    expect((await appOf(guid)).package_state).to.equal('PENDING');
    const running = await runningApp();
    expect((await cc.call('POST', `/v2/apps/${running.guid}/restage`)).status).to.equal(201);
    expect(bridge.lines).to.include(`DELETE /v1/apps/${processOf(running)}`);
    expect(bridge.lastStaging.startsWith(running.guid)).to.equal(true);
  });

  it('are scaled, get routes, lose an instance, are stopped and deleted at the bridge', async () => {
    const app = await runningApp();
    bridge.requests.length = 0;
    await change(app.guid, { instances: 3 });
    await change(app.guid, { routes: ['b.localhost'] });
    await cc.call('DELETE', `/v2/apps/${app.guid}/instances/1`);
    const [scaled, routed] = bridge.bodies('PUT', '/v1/apps/') as [Message, Message];
    expect([scaled.num_instances, routed.routes, routed.process_guid]).to.deep.equal([
      3,
      ['b.localhost'],
      processOf(app),
    ]);
    expect(Number(routed.etag)).to.be.above(Number(scaled.etag));
    await change(app.guid, { state: 'STOPPED' });
    await cc.call('DELETE', `/v2/apps/${app.guid}`);
    const process = processOf(app);
    expect(bridge.lines.filter((line) => line.startsWith('DELETE'))).to.deep.equal([
      `DELETE /v1/apps/${process}/index/1`,
      `DELETE /v1/apps/${process}`,
      `DELETE /v1/apps/${process}`,
    ]);
    expect(onBus(app.guid)).to.deep.equal([]);
  });

  it('keep a change that the bridge refuses: it finds it in the bulk data', async () => {
    const { guid } = await runningApp();
    bridge.refuse = ({ method }) => (method === 'PUT' ? { status: 503 } : undefined);
    const answer = await change(guid, { instances: 4 });
    expect([answer.status, answer.body.code, (await appOf(guid)).instances]).to.deep.equal([500, 170_016, 4]);
    bridge.refuse = () => undefined;
    await bridge.sync(cc.url);
    expect([...bridge.runningIndices(guid)]).to.deep.equal([0, 1, 2, 3]);
  });

  it('show what tps tells of their instances, with those that it does not know as DOWN', async () => {
    const { guid } = await runningApp(2);
    bridge.startsAs = 'CRASHED';
    cc.alterApp(guid, { instances: 3 });
    expect((await cc.call('GET', `/v2/apps/${guid}/instances`)).body).to.deep.equal({
      0: { state: 'RUNNING', since: 1_464_739_200, uptime: 3600 },
      1: { state: 'RUNNING', since: 1_464_739_200, uptime: 3600 },
      2: { state: 'DOWN', uptime: 0 },
    });
    cc.alterApp(guid, { instances: 1 });
    const app = await appOf(guid);
    expect((await cc.call('GET', `/v2/apps/${guid}/stats`)).body).to.deep.equal({
      0: {
        state: 'RUNNING',
        stats: {
          name: app.name,
          uris: ['a.localhost'],
          host: '10.0.16.4',
          port: 60_012,
          uptime: 3600,
          mem_quota: app.memory * 1024 * 1024,
          disk_quota: app.disk_quota * 1024 * 1024,
          fds_quota: 16_384,
          usage: { time: '2016-06-01T00:00:00.123456789Z', cpu: 0.04, mem: 104_857_600, disk: 52_428_800 },
        },
      },
    });
    expect(bridge.requests.find(({ path }) => path.endsWith('/stats'))!.authorization).to.equal(
      `bearer ${clientToken}`,
    );
    for (const process of bridge.processes.values()) process.state = 'CRASHED';
    expect((await cc.call('GET', `/v2/apps/${guid}`)).body.running_instances).to.equal(0);
    expect(JSON.parse((await cc.call('GET', `/v2/apps/${guid}/crashes`)).body.text)).to.have.length(1);
  });

  it('say that nothing is known when tps does not answer, or not as it should', async () => {
    const { guid } = await runningApp();
    const codes = async () => {
      const answers = ['instances', 'stats', 'crashes'].map((what) => cc.call('GET', `/v2/apps/${guid}/${what}`));
      return (await Promise.all(answers)).map(({ status, body }) => [status, body.code]);
    };
    const unavailable = [
      [503, 220_002],
      [503, 200_002],
      [503, 220_002],
    ];
    for (const refusal of [{ status: 500 }, { status: 200, body: 'no json' }, { status: 200, body: '{}' }]) {
      bridge.refuse = ({ method }) => (method === 'GET' ? refusal : undefined);
      expect(await codes()).to.deep.equal(unavailable);
      expect((await appOf(guid)).running_instances).to.equal(-1);
    }
    bridge.refuse = ({ method }) => (method === 'GET' ? { status: 404 } : undefined);
    expect((await cc.call('GET', `/v2/apps/${guid}/instances`)).body['0'].state).to.equal('DOWN');
    const files = await cc.call('GET', `/v2/apps/${guid}/instances/0/files`);
    expect([files.status, files.body.code]).to.deep.equal([400, 190_001]);
  });

  it('are not among those that health managers read', async () => {
    const { guid } = await runningApp();
    const { body } = await cc.call('GET', '/v2/apps');
    expect(body.resources.some((app: Message) => app.guid === guid)).to.equal(true);
    const response = await fetch(`${cc.url}/bulk/apps?batch_size=500&bulk_token={}`, {
      headers: { Authorization: basicAuthorization({ user: 'bulk', password: 'bu:lk' }) },
    });
    expect(((await response.json()) as Message).results).not.to.have.property(guid);
  });

  describe('in the bulk data of the bridge', () => {
    let guids: string[];

    beforeEach(() => {
      const runnable = { state: 'STARTED', package_state: 'STAGED', droplet_hash: 'b658', diego: true } as const;
      guids = cc.insertApps([
        runnable,
        { ...runnable, state: 'STOPPED' },
        runnable,
        { ...runnable, package_state: 'PENDING' },
        { ...runnable, diego: false },
        runnable,
      ]);
    });

    const page = (query: string) => askController(cc.url, 'GET', `/internal/bulk/apps?${query}`);

    async function all(format: string): Promise<Message[]> {
      const found: Message[] = [];
      for (let token = '{}'; ; ) {
        const { body } = await page(`batch_size=2&token=${encodeURIComponent(token)}${format}`);
        const items = body.apps ?? body.fingerprints;
        found.push(...items);
        if (items.length === 0) {
          expect(body.token).to.deep.equal({ id: null });
          return found;
        }
        token = JSON.stringify(body.token);
      }
    }

    it('are those that are started and staged, in pages, whole or as fingerprints', async () => {
      const ours = ({ process_guid: guid }: Message) => guids.includes(guid.slice(0, 36));
      const messages = (await all('')).filter(ours);
      expect(messages.map(({ log_guid: guid }) => guid)).to.deep.equal([guids[0], guids[2], guids[5]]);
      expect((await all('&format=fingerprint')).filter(ours)).to.deep.equal(
        messages.map(({ process_guid, etag }) => ({ process_guid, etag })),
      );
    });

    it('are given by their process guids, without those that are not current', async () => {
      const [first] = (await all('')).filter(({ log_guid: guid }) => guid === guids[0]) as [Message];
      const asked = [first.process_guid, `${guids[2]}-old-version`, `${guids[4]}-x`, 'nobody'];
      const { status, body } = await askController(cc.url, 'POST', '/internal/bulk/apps', asked);
      expect([status, body]).to.deep.equal([200, [first]]);
    });

    it('are refused to wrong credentials and without parameters', async () => {
      const codeOf = ({ status, body }: { status: number; body: Message }) => [status, body.code];
      const denied = await askController(
        cc.url,
        'GET',
        '/internal/bulk/apps?batch_size=1&token={}',
        undefined,
        'Basic x',
      );
      expect(codeOf(denied)).to.deep.equal([401, 10_002]);
      expect(codeOf(await page('batch_size=1'))).to.deep.equal([400, 10_005]);
      expect(codeOf(await page('token={}'))).to.deep.equal([400, 10_005]);
      const post = async (body?: unknown) => codeOf(await askController(cc.url, 'POST', '/internal/bulk/apps', body));
      expect(await post()).to.deep.equal([400, 1001]);
      expect(await post('[')).to.deep.equal([400, 1001]);
      expect(await post({})).to.deep.equal([400, 1001]);
    });
  });

  describe('that crash', () => {
    const report = (guid: string, body: unknown) =>
      askController(cc.url, 'POST', `/internal/apps/${guid}/crashed`, body);
    const crash = {
      instance: 'i',
      index: 1,
      reason: 'CRASHED',
      exit_description: 'Exited with status 1',
      crash_count: 3,
      crash_timestamp: 1_464_739_200_123_456_800,
    };

    it('have an event of it', async () => {
      const app = await runningApp();
      expect((await report(processOf(app), crash)).status).to.equal(200);
      const { resources } = (await cc.call('GET', `/v2/apps/${app.guid}/events`)).body;
      expect(resources[0].type).to.equal('app.crash');
      expect(resources[0].metadata).to.deep.equal({
        version: app.version,
        instance: 'i',
        index: 1,
        reason: 'CRASHED',
        exit_description: 'Exited with status 1',
      });
    });

    it('are refused when they are unknown, not on Diego, or wrongly told of', async () => {
      const app = await runningApp();
      const [onCells] = cc.insertApps([{ diego: false }]);
      const codeOf = async (guid: string, body: unknown) => {
        const answer = await report(guid, body);
        return [answer.status, answer.body.code];
      };
      expect(await codeOf('5a0e5f2c-7f3e-4b57-9a55-000000000000-v', crash)).to.deep.equal([404, 10_000]);
      expect(await codeOf(`${onCells}-v`, crash)).to.deep.equal([400, 10_009]);
      expect(await codeOf(processOf(app), '{')).to.deep.equal([400, 1001]);
      expect(await codeOf(processOf(app), { ...crash, index: 'one' })).to.deep.equal([400, 10_004]);
    });
  });
});

describe('a staging on Diego that nobody ends', () => {
  let nats: NatsServer;
  let cc: RunningMiniCc;
  let bridge: PlayedBridge;

  before(async () => {
    nats = await startNats();
    bridge = await PlayedBridge.start();
    const pending_packages = { frequency_in_seconds: 0.05, expiration_in_seconds: 0.2 };
    cc = await startMiniCc({ natsUrl: nats.url, config: { ...bridge.config, pending_packages } });
    await cc.addBuildpack('scripted', 'spec/fixtures/buildpacks/static-buildpack');
  });

  after(async () => {
    await cc?.stop();
    await bridge?.stop();
    await nats?.stop();
  });

  it('is given up after its time, and cancelled', async () => {
    const { guid } = (await cc.call('POST', '/v2/apps', { name: 'endless', diego: true })).body;
    await cc.uploadBits(guid, 'spec/fixtures/apps/static');
    await cc.call('PUT', `/v2/apps/${guid}`, { state: 'STARTED' });
    const app = await eventually(async () => {
      const { body } = await cc.call('GET', `/v2/apps/${guid}`);
      return body.package_state === 'FAILED' ? body : undefined;
    });
    expect(app).to.include({ staging_failed_reason: 'StagingTimeExpired', state: 'STOPPED' });
    const cancelled = `DELETE /v1/staging/${bridge.lastStaging}`;
    await eventually(() => (bridge.lines.includes(cancelled) ? true : undefined), { what: 'the cancellation' });
  });
});

describe('a Cloud Controller without a CC-bridge', () => {
  let nats: NatsServer;
  let cc: RunningMiniCc;

  before(async () => {
    nats = await startNats();
    cc = await startMiniCc({ natsUrl: nats.url });
  });

  after(async () => {
    await cc?.stop();
    await nats?.stop();
  });

  it('refuses to hand an app over to nobody, which stays as it is', async () => {
    const [guid] = cc.insertApps([{}]);
    for (const answer of [
      await cc.call('PUT', `/v2/apps/${guid}`, { diego: true, instances: 7 }),
      await cc.call('POST', '/v2/apps', { name: 'of diego', diego: true }),
    ]) {
      expect([answer.status, answer.body.code]).to.deep.equal([503, 170_015]);
    }
    expect((await cc.call('GET', `/v2/apps/${guid}`)).body).to.include({ diego: false, instances: 1 });
    expect((await cc.call('GET', '/v2/apps')).body.resources).to.have.length(1);
  });

  it('says that there is none', async () => {
    const runnable = { state: 'STARTED', package_state: 'STAGED', droplet_hash: 'b658', diego: true } as const;
    const [guid] = cc.insertApps([runnable]);
    const scaled = await cc.call('PUT', `/v2/apps/${guid}`, { instances: 2 });
    expect([scaled.status, scaled.body.code]).to.deep.equal([503, 170_015]);
    expect((await cc.call('GET', `/v2/apps/${guid}/stats`)).status).to.equal(503);
  });
});

describe('a Cloud Controller whose users may not choose the side', () => {
  let nats: NatsServer;
  let cc: RunningMiniCc;

  before(async () => {
    nats = await startNats();
    cc = await startMiniCc({ natsUrl: nats.url, config: { users_can_select_backend: false } });
  });

  after(async () => {
    await cc?.stop();
    await nats?.stop();
  });

  it('refuses those who do', async () => {
    const [guid] = cc.insertApps([{}]);
    const answer = await cc.call('PUT', `/v2/apps/${guid}`, { diego: true });
    expect([answer.status, answer.body.code]).to.deep.equal([403, 320_005]);
    expect((await cc.call('PUT', `/v2/apps/${guid}`, { diego: false })).status).to.equal(201);
    expect((await cc.call('POST', '/v2/apps', { name: 'mine', diego: true })).status).to.equal(403);
  });
});
