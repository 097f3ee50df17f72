import { expect } from 'chai';
import { eventually } from '../../support/eventually.js';
import { type RunningMiniCc, startMiniCc } from '../../support/mini-cc.js';
import { type NatsServer, startNats } from '../../support/nats.js';
import { type Message, Peer } from '../../support/peer.js';
import { ScriptedAgent, type ScriptedAgentOptions } from '../../support/scripted-agent.js';

describe('the flows of an app', () => {
  let nats: NatsServer;
  let cc: RunningMiniCc;
  let agent: ScriptedAgent;
  let peer: Peer;

  before(async () => {
    nats = await startNats();
  });

  after(() => nats.stop());

  beforeEach(async () => {
    peer = await Peer.connect(nats.url);
    cc = await startMiniCc({ natsUrl: nats.url });
    await cc.addBuildpack('scripted', 'spec/fixtures/buildpacks/static-buildpack');
  });

  afterEach(async () => {
    await agent.stop();
    await cc.stop();
    await peer.close();
  });

  async function startAgent(options: Partial<ScriptedAgentOptions> = {}): Promise<void> {
    agent = await ScriptedAgent.start({ natsUrl: nats.url, ...options });
    await eventually(() => (cc.miniCc.cellIds.length === 1 ? true : undefined), { what: 'the cell' });
  }

  const change = (guid: string, fields: Message) => cc.call('PUT', `/v2/apps/${guid}`, fields);

  /** An app with as many running instances. */
  async function runningApp(instances: number): Promise<Message> {
    const { body } = await cc.call('POST', '/v2/apps', { name: 'shop', instances, routes: ['shop.localhost'] });
    await cc.uploadBits(body.guid, 'spec/fixtures/apps/static');
    expect((await change(body.guid, { state: 'STARTED' })).status).to.equal(201);
    await eventually(() => (agent.instances.length === instances ? true : undefined), { what: 'the instances' });
    return (await cc.call('GET', `/v2/apps/${body.guid}`)).body;
  }

  it('scale from 3 to 5 to 2: starts for 3 and 4, then one stop for 2, 3 and 4 of the version', async () => {
    await startAgent();
    const { guid, version } = await runningApp(3);
    await change(guid, { instances: 5 });
    await eventually(() => (agent.instances.length === 5 ? true : undefined));
    const starts = peer.all(`dea.${agent.id}.start`).map(({ data }) => [data.index, data.version]);
    expect(starts.slice(-2)).to.deep.equal([
      [3, version],
      [4, version],
    ]);
    await change(guid, { instances: 2 });
    expect(await peer.next('dea.stop')).to.deep.equal({ droplet: guid, version, indices: [2, 3, 4] });
    await eventually(() => (agent.instances.length === 2 ? true : undefined));
  });

  it('stop an app in all versions, and start it again with a new one', async () => {
    await startAgent();
    const { guid, version } = await runningApp(2);
    await change(guid, { state: 'STOPPED' });
    expect(await peer.next('dea.stop')).to.deep.equal({ droplet: guid });
    await eventually(() => (agent.instances.length === 0 ? true : undefined));
    const { body } = await change(guid, { state: 'STARTED' });
    expect(body.version).not.to.equal(version);
    await eventually(() => (agent.instances.length === 2 ? true : undefined));
    expect(agent.stagings).to.have.length(1);
  });

  it('tell health managers of before August 2014 of each start, stop and scaling, and of nothing else', async () => {
    await startAgent();
    const { guid } = await runningApp(1);
    await change(guid, { instances: 2 });
    await change(guid, { memory: 512 });
    await change(guid, { routes: ['b.localhost'] });
    await change(guid, { state: 'STOPPED' });
    await eventually(() => (peer.all('droplet.updated').length === 3 ? true : undefined));
    expect(peer.all('droplet.updated').map(({ data }) => data)).to.deep.equal(Array(3).fill({ droplet: guid }));
  });

  it('tell agents of a mapped route and of the version that comes with it', async () => {
    await startAgent();
    const { guid, version } = await runningApp(1);
    const { body } = await change(guid, { routes: ['shop.localhost', 'b.localhost'] });
    expect(body.version).not.to.equal(version);
    expect(await peer.next('dea.update')).to.deep.equal({
      droplet: guid,
      uris: ['shop.localhost', 'b.localhost'],
      version: body.version,
    });
    await eventually(() => (agent.instances[0]!.version === body.version ? true : undefined));
  });

  it('send nothing for another amount of memory while started', async () => {
    await startAgent();
    const { guid, version } = await runningApp(1);
    const mark = peer.mark;
    const { body } = await change(guid, { memory: 512 });
    expect(body.version).not.to.equal(version);
    await peer.connection.flush();
    const sent = peer.received.slice(mark).map(({ subject }) => subject);
    expect(sent.filter((subject) => !subject.endsWith('advertise'))).to.deep.equal([]);
  });

  it('restage: stop, stage again, start with a new version', async () => {
    await startAgent();
    const { guid, version } = await runningApp(1);
    const { status, body, headers } = await cc.call('POST', `/v2/apps/${guid}/restage`);
    expect(status).to.equal(201);
    expect(headers.get('X-App-Staging-Log')).to.match(/^http:/);
    expect(body.version).not.to.equal(version);
    await eventually(() => (agent.instances[0]?.version === body.version ? true : undefined));
    expect(agent.instances).to.have.length(1);
  });

  it('delete an app: stop it, and forget it with its blobs', async () => {
    await startAgent();
    const { guid } = await runningApp(1);
    expect((await cc.call('DELETE', `/v2/apps/${guid}`)).status).to.equal(204);
    await eventually(() => (agent.instances.length === 0 ? true : undefined));
    expect(await peer.next('dea.stop')).to.deep.equal({ droplet: guid });
    expect((await cc.call('GET', '/v2/apps')).body.resources).to.deep.equal([]);
  });

  it('stop one instance by its index', async () => {
    await startAgent();
    const { guid, version } = await runningApp(2);
    expect((await cc.call('DELETE', `/v2/apps/${guid}/instances/1`)).status).to.equal(204);
    expect(await peer.next('dea.stop')).to.deep.equal({ droplet: guid, version, indices: [1] });
    expect((await cc.call('DELETE', `/v2/apps/${guid}/instances/2`)).body.error_code).to.equal('CF-InstancesError');
  });

  it('put the number of instances back when there is no room, and stop those that were started', async () => {
    await startAgent({ memoryMb: 2048 });
    const { guid, version } = await runningApp(1);
    const { status, body } = await change(guid, { instances: 20 });
    expect(status).to.equal(503);
    expect(body).to.include({ code: 150003, error_code: 'CF-InsufficientRunningResourcesAvailable' });
    expect((await cc.call('GET', `/v2/apps/${guid}`)).body.instances).to.equal(1);
    const stop = await peer.next('dea.stop');
    expect(stop).to.deep.include({ droplet: guid, version });
    expect(stop.indices).to.deep.equal(Array.from({ length: 19 }, (_unused, index) => index + 1));
    await eventually(() => (agent.instances.length === 1 ? true : undefined));
  });

  it('record a crash once, and show the instance as crashed with its reason, the missing ones as down', async () => {
    await startAgent();
    const { guid } = await runningApp(3);
    agent.crash(1, 137, 'out of memory');
    agent.instances.splice(
      agent.instances.findIndex(({ index }) => index === 2),
      1,
    );
    const instances = await eventually(async () => {
      const { body } = await cc.call('GET', `/v2/apps/${guid}/instances`);
      return body['1'].details ? body : undefined;
    });
    expect(instances['0']).to.deep.include({ state: 'RUNNING', debug_ip: null, console_port: null });
    expect(instances['1']).to.deep.include({ state: 'CRASHED', details: 'out of memory', exit_status: 137 });
    expect(instances['2']).to.include({ state: 'DOWN' });
    const { resources } = (await cc.call('GET', `/v2/apps/${guid}/events`)).body;
    const crashes = resources.filter(({ type }: Message) => type === 'app.crash');
    expect(crashes).to.have.length(1);
    expect(crashes[0].metadata).to.include({ index: 1, exit_status: 137, exit_description: 'out of memory' });
  });

  it('still show a crash when its agent is gone, and forget it with the next version', async () => {
    await startAgent();
    const { guid } = await runningApp(1);
    agent.crash(0, 3, 'app instance exited');
    await peer.next('droplet.exited');
    agent.instances.length = 0;
    const state = async () => (await cc.call('GET', `/v2/apps/${guid}/instances`)).body['0'].state;
    await eventually(async () => ((await state()) === 'CRASHED' ? true : undefined));
    await change(guid, { state: 'STOPPED' });
    await change(guid, { state: 'STARTED' });
    await eventually(async () => ((await state()) === 'RUNNING' ? true : undefined));
  });

  it('ignore exits that are no crashes, of unknown apps, or malformed', async () => {
    await startAgent();
    const { guid } = await runningApp(1);
    for (const reason of ['STOPPED', 'DEA_SHUTDOWN', 'DEA_EVACUATION'])
      peer.publish('droplet.exited', { droplet: guid, reason });
    peer.publish('droplet.exited', { droplet: 'nobody', reason: 'CRASHED' });
    peer.publish('droplet.exited', { reason: 'CRASHED' });
    peer.publishRaw('droplet.exited', '}{');
    peer.publish('droplet.exited', { droplet: guid, reason: 'crashed', index: 0 });
    const crashes = await eventually(async () => {
      const { resources } = (await cc.call('GET', `/v2/apps/${guid}/events`)).body;
      const found = resources.filter(({ type }: Message) => type === 'app.crash');
      return found.length > 0 ? found : undefined;
    });
    expect(crashes).to.have.length(1);
  });

  it('come back early when every instance has answered, else after the time for it', async () => {
    await startAgent();
    const { guid } = await runningApp(2);
    const took = async () => {
      const before = performance.now();
      await cc.call('GET', `/v2/apps/${guid}/instances`);
      return performance.now() - before;
    };
    expect(await took()).to.be.below(400);
    agent.instances.pop();
    expect(await took()).to.be.within(450, 2000);
  });

  it('show what running instances use, and no more of the others', async () => {
    await startAgent();
    const { guid } = await runningApp(3);
    agent.instances[2]!.state = 'STARTING';
    agent.instances.splice(1, 1);
    const { body } = await cc.call('GET', `/v2/apps/${guid}/stats`);
    expect(body['0'].stats).to.include({ uptime: 7, mem_quota: 268_435_456 });
    expect(body['0'].stats.usage).to.include({ cpu: 0.0123, mem: 52_428_800 });
    expect(Object.values(body).filter((entry) => (entry as Message).stats)).to.have.length(1);
    expect(body['1'].state === 'DOWN' || body['2'].state === 'DOWN').to.equal(true);
    await change(guid, { state: 'STOPPED' });
    expect((await cc.call('GET', `/v2/apps/${guid}/stats`)).body).to.include({ code: 200003 });
    expect((await cc.call('GET', `/v2/apps/${guid}/instances`)).body).to.include({ code: 220001 });
  });

  it('redirect to files by index and by instance id, verbatim', async () => {
    await startAgent();
    const { guid } = await runningApp(2);
    const { instance, index } = agent.instances[0]!;
    const get = (path: string) => cc.call('GET', `/v2/apps/${guid}/instances/${path}`);
    const byIndex = await get(`${index}/files/logs/std%20out.log`);
    expect(byIndex.status).to.equal(302);
    expect(byIndex.headers.get('Location')).to.match(
      new RegExp(
        `^http://\\w{32}\\.localhost/instance_paths/${instance}\\?hmac=0&path=logs%2Fstd%20out\\.log&timestamp=1$`,
      ),
    );
    expect((await get(`+${index}/files/x`)).status).to.equal(302);
    expect((await get(`${instance}/files/x`)).headers.get('Location')).to.contain(instance);
    expect((await get(`${index}/files/x?tail`)).headers.get('Location')).to.match(/&tail=$/);
    const queries = () => peer.all('dea.find.droplet').map(({ data }) => data.path);
    await get(`${index}/files`);
    await get(`${index}/files/`);
    expect(queries().slice(-2)).to.deep.equal([null, null]);
  });

  it('refuse files of indices that are out of range, ids with dashes, and stopped apps', async () => {
    await startAgent();
    const { guid } = await runningApp(1);
    const code = async (which: string) =>
      (await cc.call('GET', `/v2/apps/${guid}/instances/${which}/files/x`)).body.error_code;
    expect(await code('1')).to.equal('CF-FileError');
    expect(await code('f2c1f0a9-c6be')).to.equal('CF-FileError');
    expect(await code('f2c1f0a9c6be')).to.equal('CF-FileError');
    await change(guid, { state: 'STOPPED' });
    expect(await code('0')).to.equal('CF-FileError');
  });
});
