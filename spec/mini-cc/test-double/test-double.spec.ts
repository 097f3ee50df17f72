import { createHash, randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { expect } from 'chai';
import { completeMiniCcConfig } from '../../../lib/mini-cc/config.js';
import type { LogEntry } from '../../../lib/mini-cc/test-double/message-log.js';
import { eventually } from '../../support/eventually.js';
import { type RunningMiniCc, stagingCredentials, startMiniCc } from '../../support/mini-cc.js';
import { type NatsServer, startNats } from '../../support/nats.js';
import type { Message } from '../../support/peer.js';
import { rejectionOf } from '../../support/rejection.js';
import { dropletForm, fetchBytes, ScriptedAgent, stageWell } from '../../support/scripted-agent.js';

describe('the miniature Cloud Controller as a test double', () => {
  let nats: NatsServer;
  let cc: RunningMiniCc;
  let agent: ScriptedAgent;
  let healthManager: Server;

  before(async () => {
    nats = await startNats();
    healthManager = createServer((request, response) => request.resume().on('end', () => response.end('{}')));
    healthManager.listen(0, '127.0.0.1');
    await once(healthManager, 'listening');
    const url = `http://127.0.0.1:${(healthManager.address() as AddressInfo).port}`;
    cc = await startMiniCc({
      natsUrl: nats.url,
      config: { test_double: true, staging: { timeout_in_seconds: 1 }, hm9000: { url } },
    });
    await cc.addBuildpack('scripted', 'spec/fixtures/buildpacks/static-buildpack');
    agent = await ScriptedAgent.start({ natsUrl: nats.url });
    await eventually(() => (cc.miniCc.cellIds.length === 1 ? true : undefined), { what: 'the cell' });
  });

  after(async () => {
    await agent.stop();
    await cc.stop();
    healthManager.closeAllConnections();
    healthManager.close();
    await nats.stop();
  });

  beforeEach(() => {
    agent.options.stage = stageWell;
  });

  afterEach(async () => {
    await cc.call('DELETE', '/__fault');
    for (const app of (await cc.call('GET', '/v2/apps')).body.resources)
      await cc.call('DELETE', `/v2/apps/${app.guid}`);
    await eventually(() => (agent.instances.length === 0 ? true : undefined));
  });

  const inject = async (fault: Message) => {
    const answer = await cc.call('POST', '/__fault', fault);
    expect(answer.status, JSON.stringify(answer.body)).to.equal(201);
    return answer.body;
  };
  const logged = async (query = ''): Promise<LogEntry[]> => (await cc.call('GET', `/__log${query}`)).body.entries;
  const mark = async () => (await logged()).at(-1)?.id ?? 0;
  const createApp = async (fields: Message = {}): Promise<string> => {
    const { guid } = (await cc.call('POST', '/v2/apps', { name: randomUUID(), ...fields })).body;
    await cc.uploadBits(guid, 'spec/fixtures/apps/static');
    return guid;
  };
  const start = (guid: string) => cc.call('PUT', `/v2/apps/${guid}`, { state: 'STARTED' });
  const packageState = async (guid: string) => (await cc.call('GET', `/v2/apps/${guid}/staging`)).body.package_state;
  const ended = (guid: string) =>
    eventually(async () => {
      const state = await packageState(guid);
      return state === 'PENDING' ? undefined : state;
    });
  const runningApp = async (fields: Message = {}): Promise<string> => {
    const guid = await createApp(fields);
    expect((await start(guid)).status).to.equal(201);
    expect(await ended(guid)).to.equal('STAGED');
    return guid;
  };
  const basic = `Basic ${Buffer.from(`${stagingCredentials.user}:${stagingCredentials.password}`).toString('base64')}`;
  const upload = (guid: string, headers: Record<string, string> = {}) => {
    const form = dropletForm(Buffer.from('droplet'));
    return fetch(`${cc.url}/staging/droplets/${guid}/upload?async=true`, {
      method: 'POST',
      headers: { Authorization: basic, ...form.headers, ...headers },
      body: form.body,
    });
  };
  const dropletUrl = (guid: string) =>
    `${cc.url.replace('://', `://${stagingCredentials.user}:${encodeURIComponent(stagingCredentials.password)}@`)}/staging/droplets/${guid}/download`;

  it('is none unless the configuration says so, and never beyond the loopback', async () => {
    const plain = await startMiniCc({ natsUrl: nats.url });
    try {
      expect((await plain.call('GET', '/__log')).status).to.equal(404);
      expect((await plain.call('POST', '/__fault', { fault: 'expire' })).status).to.equal(404);
    } finally {
      await plain.stop();
    }
    const config = { data_directory: '/x', message_bus_servers: ['nats://x'], test_double: true };
    expect(() => completeMiniCcConfig({ ...config, bind_address: '0.0.0.0' })).to.throw(
      'test_double: is for the loopback',
    );
    for (const bind_address of ['127.0.0.1', '127.3.2.1', '::1', 'localhost']) {
      expect(completeMiniCcConfig({ ...config, bind_address }).test_double).to.equal(true);
    }
  });

  it('answers only to those who have the token', async () => {
    for (const path of ['/__log', '/__fault']) expect((await fetch(`${cc.url}${path}`)).status).to.equal(401);
    expect((await fetch(`${cc.url}/__fault`, { method: 'POST' })).status).to.equal(401);
  });

  it('refuses faults that it does not know, naming the field', async () => {
    const { status, body } = await cc.call('POST', '/__fault', { fault: 'status', path: '/x', status: 1 });
    expect(status).to.equal(400);
    expect(body.description).to.match(/^The request is invalid: status: /);
    expect((await cc.call('DELETE', '/__fault/999')).status).to.equal(404);
  });

  it('tells every message in and out, in order and without secrets', async () => {
    const since = await mark();
    const guid = await runningApp({ env: { PASSWORD: 'hidden' }, instances: 2 });
    await cc.call('GET', `/v2/apps/${guid}/stats`);
    const entries = await logged(`?since=${since}`);
    const told = entries.map(({ direction, subject, isReply, method, url, status }) =>
      [
        direction,
        subject ?? `${method} ${url?.replace(/\w{8}-[\w-]{27}/, 'GUID')}`,
        isReply ? 'reply' : '',
        status ?? '',
      ]
        .join(' ')
        .trim(),
    );
    const wanted = [
      'in POST /v2/apps',
      'out POST /v2/apps  201',
      'in PUT /v2/apps/GUID/bits',
      'in PUT /v2/apps/GUID',
      'out staging.stop',
      `out staging.${agent.id}.start`,
      `in staging.${agent.id}.start reply`,
      'out PUT /v2/apps/GUID  201',
      'in GET /staging/apps/GUID',
      'in POST /staging/droplets/GUID/upload?async=true',
      `out dea.${agent.id}.start`,
      'out dea.find.droplet',
      'in dea.find.droplet reply',
      'out GET /v2/apps/GUID/stats  200',
    ];
    expect(told).to.include.members(wanted);
    expect(told.indexOf('out staging.stop')).to.be.lessThan(told.indexOf(`out staging.${agent.id}.start`));
    const text = JSON.stringify(entries);
    expect(text).not.to.contain('hidden');
    expect(text).not.to.contain(stagingCredentials.password);
    expect(text).not.to.contain(encodeURIComponent(stagingCredentials.password));
    const [request] = entries.filter(({ method, url }) => method === 'POST' && url === '/v2/apps');
    expect(request!.body).to.deep.include({ env: '<redacted>', instances: 2 });
    const [message] = await logged(`?since=${since}&subject=dea.*.start`);
    expect(message!.body).to.deep.include({ droplet: guid, index: 1, executableUri: '<redacted>' });
  });

  it('tells what it asks others over HTTP itself', async () => {
    const since = await mark();
    const guid = await runningApp();
    await cc.call('GET', `/v2/apps/${guid}`);
    const entries = (await logged(`?since=${since}`)).filter(({ url }) => url?.endsWith('/bulk_app_state'));
    const [question, answer] = entries as [LogEntry, LogEntry];
    expect(question).to.include({ direction: 'out', via: 'http', method: 'POST' });
    expect((question.body as Message[])[0]).to.include({ droplet: guid });
    expect(answer).to.deep.include({ direction: 'in', status: 200, body: {} });
  });

  it('drops and delays messages', async () => {
    const guid = await runningApp();
    await inject({ fault: 'drop', subject: 'dea.stop', count: 1 });
    await inject({ fault: 'delay', subject: 'dea.*.start', milliseconds: 200 });
    await cc.call('PUT', `/v2/apps/${guid}`, { state: 'STOPPED' });
    const before = Date.now();
    await start(guid);
    await eventually(() => (agent.instances.length === 2 ? true : undefined));
    expect(Date.now() - before).to.be.at.least(195);
    expect((await logged('?subject=dea.stop')).at(-1)!.fault).to.equal('dropped');
    const { body } = await cc.call('GET', '/__fault');
    expect(body.faults).to.deep.equal([
      { id: body.faults[0].id, fault: 'delay', subject: 'dea.*.start', direction: 'both', milliseconds: 200 },
    ]);
    expect((await cc.call('DELETE', `/__fault/${body.faults[0].id}`)).status).to.equal(204);
  });

  it('drops what comes in, and requests', async () => {
    const guid = await runningApp();
    await inject({ fault: 'drop', subject: 'dea.find.droplet', count: 1 });
    expect((await cc.call('GET', `/v2/apps/${guid}/instances`)).body['0'].state).to.equal('DOWN');
    expect((await cc.call('GET', `/v2/apps/${guid}/instances`)).body['0'].state).to.equal('RUNNING');
    await inject({ fault: 'drop', subject: 'dea.advertise', direction: 'in' });
    expect((await inject({ fault: 'expire' })).expired).to.deep.equal([agent.id]);
    expect(cc.miniCc.cellIds).to.deep.equal([]);
    const answer = await cc.call('PUT', `/v2/apps/${guid}`, { instances: 2 });
    expect(answer.body.error_code).to.equal('CF-InsufficientRunningResourcesAvailable');
    await cc.call('DELETE', '/__fault');
    await eventually(() => (cc.miniCc.cellIds.length === 1 ? true : undefined));
    expect((await inject({ fault: 'expire', cell: 'nobody' })).expired).to.deep.equal([]);
  });

  it('answers with a status so many times', async () => {
    await inject({ fault: 'status', path: '/v2/apps', method: 'GET', status: 503, count: 2 });
    const stati = [];
    for (let time = 0; time < 3; time += 1) stati.push((await cc.call('GET', '/v2/apps')).status);
    expect(stati).to.deep.equal([503, 503, 200]);
  });

  it('loses a reply of the stager', async () => {
    const first = await createApp();
    await inject({ fault: 'lose-staging-reply', reply: 'second' });
    expect((await start(first)).status).to.equal(201);
    expect(await ended(first)).to.equal('FAILED');
    const second = await createApp();
    agent.options.stage = async (script) => script.setUp();
    await inject({ fault: 'lose-staging-reply', reply: 'first' });
    const { status, body } = await start(second);
    expect([status, body.error_code]).to.deep.equal([400, 'CF-StagingError']);
  });

  it('serves droplets that are too short, or breaks off in the middle', async () => {
    const guid = await runningApp();
    const whole = await fetchBytes(dropletUrl(guid));
    await inject({ fault: 'truncate' });
    const short = await fetchBytes(dropletUrl(guid));
    expect(short).to.deep.equal(whole.subarray(0, Math.floor(whole.length / 2)));
    await inject({ fault: 'truncate', how: 'cut' });
    expect(await rejectionOf(fetchBytes(dropletUrl(guid)))).to.be.instanceOf(Error);
    expect(await fetchBytes(dropletUrl(guid))).to.deep.equal(whole);
  });

  it('finds the checksum of an upload wrong', async () => {
    const guid = await createApp();
    const md5 = createHash('md5').update('droplet').digest('base64');
    await inject({ fault: 'wrong-md5' });
    const refused = await upload(guid, { 'Content-MD5': md5 });
    expect(refused.status).to.equal(400);
    expect(((await refused.json()) as Message).description).to.contain('content md5 did not match');
    expect((await upload(guid, { 'Content-MD5': md5 })).status).to.equal(200);
  });

  it('has jobs that fail or never end', async () => {
    const guid = await createApp();
    for (const [outcome, expected] of [
      ['fails', 'failed'],
      ['never-ends', 'running'],
    ]) {
      await inject({ fault: 'job', outcome });
      const job = (await (await upload(guid)).json()) as Message;
      expect(job.entity.status).to.equal(expected);
      for (let time = 0; time < 2; time += 1) {
        const polled = JSON.parse((await fetchBytes(job.metadata.url)).toString()) as Message;
        expect(polled.entity.status).to.equal(expected);
        expect('error_details' in polled.entity).to.equal(expected === 'failed');
      }
    }
    const job = (await (await upload(guid)).json()) as Message;
    expect(job.entity.status).to.equal('finished');
  });

  it('stumbles as those until 2015 over a cell that advertises on one subject only', async () => {
    const guid = await createApp({ stack: 'strange' });
    cc.alterApp(guid, { package_state: 'STAGED', droplet_hash: 'b658' });
    const lone = { id: 'lone', stacks: ['strange'], available_memory: 4096, app_id_to_count: {} };
    const advertise = (subject: string) => {
      const { connection } = agent;
      connection.publish(subject, JSON.stringify(lone));
      return connection.flush();
    };
    await advertise('dea.advertise');
    await eventually(() => (cc.miniCc.cellIds.includes('lone') ? true : undefined), { what: 'the lone cell' });
    const starts = async () => (await logged('?subject=dea.lone.start')).length;
    await inject({ fault: 'generation', generation: 2015 });
    expect((await start(guid)).status).to.equal(500);
    expect(await starts()).to.equal(1);
    await inject({ fault: 'generation', generation: 2016 });
    expect((await start(guid)).status).to.equal(201);
    await cc.call('PUT', `/v2/apps/${guid}`, { state: 'STOPPED' });
    await inject({ fault: 'generation', generation: 2015 });
    await advertise('staging.advertise');
    await eventually(async () => ((await logged('?subject=staging.advertise')).some(isLone) ? true : undefined));
    expect((await start(guid)).status).to.equal(201);
    expect(await starts()).to.equal(3);
  });

  const isLone = ({ body }: LogEntry) => (body as Message).id === 'lone';

  it('plays Cloud Controllers of other years', async () => {
    expect((await cc.call('GET', '/__fault')).body.generation).to.equal(null);
    await inject({ fault: 'generation', generation: 2014 });
    let since = await mark();
    const guid = await runningApp({ instances: 2 });
    const [old] = await logged(`?since=${since}&subject=dea.*.start`);
    expect(old!.body).not.to.have.any.keys('stack', 'egress_network_rules');
    expect(await logged(`?since=${since}&subject=droplet.updated`)).not.to.have.length(0);

    await inject({ fault: 'generation', generation: 2016 });
    expect((await cc.call('GET', '/__fault')).body.generation).to.equal(2016);
    // Only those who run apps advertise themselves, and they stage.
    agent.options.advertises = ['dea'];
    await inject({ fault: 'expire' });
    agent.advertise();
    since = await mark();
    await eventually(async () =>
      (await cc.call('POST', `/v2/apps/${guid}/restage`)).status === 201 ? true : undefined,
    );
    expect(await ended(guid)).to.equal('STAGED');
    const [staging] = await logged(`?since=${since}&subject=staging.*.start`);
    expect(staging!.body).to.deep.include({ accepts_http: true });
    delete agent.options.advertises;
    agent.advertise();
  });
});
