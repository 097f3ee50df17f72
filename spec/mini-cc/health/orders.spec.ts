import { expect } from 'chai';
import { basicAuthorization } from '../../../lib/http/url.js';
import type { App } from '../../../lib/mini-cc/apps/app.js';
import { eventually } from '../../support/eventually.js';
import {
  bulkCredentials,
  clientToken,
  internalCredentials,
  type RunningMiniCc,
  startMiniCc,
} from '../../support/mini-cc.js';
import { type NatsServer, startNats } from '../../support/nats.js';
import { type Message, Peer } from '../../support/peer.js';
import { ScriptedAgent } from '../../support/scripted-agent.js';

/** Two Cloud Controllers of one installation: they share the database, and the bus shares out what comes. */
describe('two Cloud Controllers and a health manager', () => {
  let nats: NatsServer;
  let peer: Peer;
  let agent: ScriptedAgent;
  let first: RunningMiniCc;
  let second: RunningMiniCc;
  let guid: string;
  let mark: number;

  const version = 'v2';
  const runnable: Partial<App> = {
    version,
    state: 'STARTED',
    package_state: 'STAGED',
    droplet_hash: 'b658',
    instances: 2,
  };

  before(async () => {
    nats = await startNats();
    peer = await Peer.connect(nats.url);
    first = await startMiniCc({ natsUrl: nats.url });
    second = await startMiniCc({ natsUrl: nats.url, directory: first.directory });
    agent = await ScriptedAgent.start({ natsUrl: nats.url });
    for (const { miniCc } of [first, second]) {
      await eventually(() => (miniCc.cellIds.length === 1 ? true : undefined), { what: 'the cell' });
    }
  });

  after(async () => {
    await agent.stop();
    await second.miniCc.stop();
    await first.stop();
    await peer.close();
    await nats.stop();
  });

  beforeEach(() => {
    [guid] = first.insertApps([runnable]) as [string];
    mark = peer.mark;
  });

  const startSubject = () => `dea.${agent.id}.start`;
  /** Resolves when both have dealt with all that was published before: each answers in its turn. */
  async function settled(): Promise<void> {
    const replies = await peer.request('cloudcontroller.bulk.credentials.default', {}, { count: 2 });
    expect(replies).to.have.length(2);
    await peer.connection.flush();
  }

  /** What was sent to agents since the test began. */
  async function sentToAgents(): Promise<Message[]> {
    await settled();
    return peer.received
      .slice(mark)
      .filter(({ subject }) => subject === startSubject() || subject === 'dea.stop')
      .map(({ subject, data }) => ({ subject, ...data }));
  }

  it('start a missing instance exactly once', async () => {
    peer.publish('hm9000.start', { message_id: 'm', droplet: guid, version, instance_index: 1 });
    const sent = await sentToAgents();
    expect(sent).to.have.length(1);
    expect(sent[0]).to.deep.include({ subject: startSubject(), droplet: guid, version, index: 1, sha1: 'b658' });
  });

  it('start nothing for an order that is out of date or malformed', async () => {
    const [diego] = first.insertApps([{ ...runnable, diego: true }]);
    const [stopped] = first.insertApps([{ ...runnable, state: 'STOPPED' }]);
    for (const order of [
      { droplet: guid, version: 'v1', instance_index: 0 },
      { droplet: guid, version, instance_index: 2 },
      { droplet: diego, version, instance_index: 0 },
      { droplet: stopped, version, instance_index: 0 },
      { droplet: 'unknown', version, instance_index: 0 },
      { droplet: guid, version },
      { droplet: guid, version, instance_index: '0' },
      { version, instance_index: 0 },
    ]) {
      peer.publish('hm9000.start', order);
    }
    peer.publishRaw('hm9000.start', '}{');
    expect(await sentToAgents()).to.deep.equal([]);
  });

  it('stop a surplus instance exactly once, by its id', async () => {
    const order = { droplet: guid, version, instance_guid: 'f2c1', instance_index: 1, is_duplicate: true };
    peer.publish('hm9000.stop', order);
    expect(await sentToAgents()).to.deep.equal([{ subject: 'dea.stop', droplet: guid, instances: ['f2c1'] }]);
  });

  it('stop an instance of an app that they do not know', async () => {
    const order = { droplet: 'unknown', version, instance_guid: 'f2c1', instance_index: 0, is_duplicate: false };
    peer.publish('hm9000.stop', order);
    expect(await sentToAgents()).to.deep.equal([{ subject: 'dea.stop', droplet: 'unknown', instances: ['f2c1'] }]);
  });

  it('keep an instance that is wanted, and one that a malformed order names', async () => {
    const order = { droplet: guid, version, instance_guid: 'f2c1', instance_index: 1, is_duplicate: false };
    peer.publish('hm9000.stop', order);
    peer.publish('hm9000.stop', { ...order, is_duplicate: undefined });
    peer.publish('hm9000.stop', { ...order, is_duplicate: true, instance_guid: '' });
    expect(await sentToAgents()).to.deep.equal([]);
  });

  it('carry out the orders of before March 2014', async () => {
    peer.publish('health.start', { droplet: guid, version, indices: [0, 1, 7], running: {} });
    peer.publish('health.stop', { droplet: guid, version, instances: { old: 'v1', a: version }, running: { v2: 2 } });
    peer.publish('health.stop', { droplet: guid, version, instances: { a: version }, running: { v2: 2 } });
    const sent = await sentToAgents();
    expect(sent.filter(({ subject }) => subject === startSubject()).map(({ index }) => index)).to.deep.equal([0, 1]);
    expect(sent.filter(({ subject }) => subject === 'dea.stop')).to.deep.equal([
      { subject: 'dea.stop', droplet: guid, instances: ['old'] },
    ]);
  });

  it('each know of the cells only what these have advertised, and not what the other has placed there', async () => {
    const stack = 'of one cell';
    const memory = 600;
    const [a, b] = first.insertApps([
      { ...runnable, stack, memory, instances: 1, state: 'STOPPED', package_hash: 'p' },
      { ...runnable, stack, memory, instances: 1, state: 'STOPPED', package_hash: 'p' },
    ]);
    const cell = { id: 'small', stacks: [stack], available_memory: 1000, app_id_to_count: {} };
    for (const subject of ['dea.advertise', 'staging.advertise']) peer.publish(subject, cell);
    await settled();
    const start = async (controller: RunningMiniCc, app: string) =>
      (await controller.call('PUT', `/v2/apps/${app}`, { state: 'STARTED' })).status;
    expect(await start(first, a!)).to.equal(201);
    expect(await start(first, b!)).to.equal(503);
    expect(await start(second, b!)).to.equal(201);
    const placed = () => peer.all('dea.small.start').map(({ data }) => data.droplet);
    await eventually(() => placed().includes(b) || undefined, { what: 'the start of the second app' });
    expect(placed()).to.deep.equal([a, b]);
  });

  it('record a crash once', async () => {
    const exit = { droplet: guid, version, index: 0, instance: 'i', exit_status: 3 };
    for (const reason of ['CRASHED', 'STOPPED', 'DEA_EVACUATION']) peer.publish('droplet.exited', { ...exit, reason });
    await settled();
    const { resources } = (await first.call('GET', `/v2/apps/${guid}/events`)).body;
    expect(resources.map(({ type, metadata }: Message) => [type, metadata.exit_status])).to.deep.equal([
      ['app.crash', 3],
    ]);
  });

  it('each tell the credentials of the bulk API, to those of their partition', async () => {
    const replies = await peer.request('cloudcontroller.bulk.credentials.default', {}, { count: 2 });
    expect(replies).to.deep.equal([bulkCredentials, bulkCredentials]);
    expect(await peer.request('cloudcontroller.bulk.credentials.other', {}, { timeoutMs: 100 })).to.deep.equal([]);
  });

  it('each answer who looks for components, and serve the pages that they announce', async () => {
    const [record] = await peer.request('vcap.component.discover', {}, { count: 2 });
    expect(record).to.have.all.keys('type', 'index', 'uuid', 'host', 'credentials', 'start', 'uptime');
    expect(record).to.include({ type: 'CloudController', index: 0 });
    const [user, password] = record!.credentials;
    const page = (path: string, authorization = basicAuthorization({ user, password })) =>
      fetch(`http://${record!.host}${path}`, { headers: { authorization } });
    expect(await (await page('/healthz')).text()).to.equal('ok\n');
    const varz = await page('/varz');
    expect(await varz.json()).to.include({ type: 'CloudController', uuid: record!.uuid, cc_user_count: 1 });
    expect((await page('/varz', 'Basic eDp5')).status).to.equal(401);
    expect(peer.all('vcap.component.announce').map(({ data }) => data.uuid)).to.include(record!.uuid);
  });

  describe('over HTTP', () => {
    const order = () => ({ droplet: guid, version, instance_index: 1 });
    const post = async (path: string, body: string, credentials = internalCredentials) => {
      const response = await fetch(`${first.url}/internal/dea/hm9000/${path}`, {
        method: 'POST',
        body,
        headers: { authorization: basicAuthorization(credentials) },
      });
      return { status: response.status, body: (await response.json()) as Message };
    };

    it('take orders and say {} whether or not anything was done', async () => {
      const stop = { ...order(), instance_guid: 'f2c1', is_duplicate: true };
      expect(await post(`start/${guid}`, JSON.stringify(order()))).to.deep.equal({ status: 200, body: {} });
      expect(await post(`stop/${guid}`, JSON.stringify(stop))).to.deep.equal({ status: 200, body: {} });
      for (const idle of [{ ...order(), version: 'v1' }, { droplet: guid }]) {
        expect(await post(`start/${guid}`, JSON.stringify(idle))).to.deep.equal({ status: 200, body: {} });
      }
      const sent = await sentToAgents();
      expect(sent.map(({ subject, index, instances }) => [subject, index ?? instances])).to.have.deep.members([
        [startSubject(), 1],
        ['dea.stop', ['f2c1']],
      ]);
    });

    it('refuse wrong credentials, apps that they do not know, and what is no JSON', async () => {
      const text = JSON.stringify(order());
      expect((await post(`start/${guid}`, text, bulkCredentials)).body).to.include({ code: 10_002 });
      expect((await post('start/unknown', text)).body).to.include({ code: 350_003, error_code: 'CF-ProcessNotFound' });
      expect((await post(`start/${guid}`, '}{')).body).to.include({ code: 1001, error_code: 'CF-MessageParseError' });
      expect((await post(`stop/${guid}`, '')).status).to.equal(400);
      const byToken = await fetch(`${first.url}/internal/dea/hm9000/start/${guid}`, {
        method: 'POST',
        body: text,
        headers: { authorization: `bearer ${clientToken}` },
      });
      expect(byToken.status).to.equal(401);
      expect(await sentToAgents()).to.deep.equal([]);
    });
  });
});
