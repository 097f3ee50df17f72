import { expect } from 'chai';
import { type RunningMiniCc, startMiniCc } from '../../support/mini-cc.js';
import { type NatsServer, startNats } from '../../support/nats.js';
import type { Message } from '../../support/peer.js';
import { askController, PlayedBridge } from '../../support/played-bridge.js';

describe('tasks', () => {
  let nats: NatsServer;
  let cc: RunningMiniCc;
  let bridge: PlayedBridge;
  let app: string;

  before(async () => {
    nats = await startNats();
    bridge = await PlayedBridge.start();
    cc = await startMiniCc({ natsUrl: nats.url, config: bridge.config });
  });

  after(async () => {
    await cc?.stop();
    await bridge?.stop();
    await nats?.stop();
  });

  beforeEach(() => {
    bridge.requests.length = 0;
    bridge.refuse = () => undefined;
    [app] = cc.insertApps([{ package_state: 'STAGED', droplet_hash: 'b658', env: { A: 1 } }]) as [string];
  });

  const create = (task: Message = { command: 'rake db:migrate', name: 'migrate' }) =>
    cc.call('POST', `/v3/apps/${app}/tasks`, task);
  const get = async (guid: string) => (await cc.call('GET', `/v3/tasks/${guid}`)).body;
  const complete = (guid: string, body: unknown) =>
    askController(cc.url, 'POST', `/internal/v3/tasks/${guid}/completed`, body);

  it('are run by the bridge with the app’s droplet and variables, stopped or not', async () => {
    const variables = { SECRET: 'x' };
    const { status, body } = await create({
      command: 'work',
      name: 'w',
      memory_in_mb: 64,
      environment_variables: variables,
    });
    expect(status).to.equal(202);
    expect(body).to.deep.include({ name: 'w', state: 'RUNNING', sequence_id: 1, memory_in_mb: 64, app_guid: app });
    expect(JSON.stringify(body)).not.to.contain('SECRET');
    const [{ environment, completion_callback: callback, ...message }] = bridge.bodies('POST', '/v1/tasks') as [
      Message,
    ];
    expect(message).to.deep.equal({
      task_guid: body.guid,
      log_guid: app,
      memory_mb: 64,
      disk_mb: 1024,
      lifecycle: 'buildpack',
      egress_rules: [],
      droplet_uri: `${cc.url}/internal/v2/droplets/${app}/b658/download`,
      droplet_hash: 'b658',
      rootfs: 'bookworm',
      command: 'work',
      log_source: 'APP/TASK/w',
      volume_mounts: [],
    });
    const variable = (name: string) => environment.find((entry: Message) => entry.name === name)?.value;
    expect(['A', 'SECRET', 'MEMORY_LIMIT'].map(variable)).to.deep.equal(['1', 'x', '64m']);
    expect(new URL(callback).pathname).to.equal(`/internal/v3/tasks/${body.guid}/completed`);
  });

  it('end as the bridge tells, once', async () => {
    const [good, bad] = [(await create()).body, (await create()).body] as [Message, Message];
    expect((await complete(good.guid, { task_guid: good.guid, failed: false, failure_reason: '' })).status).to.equal(
      200,
    );
    const failure = { task_guid: bad.guid, failed: true, failure_reason: 'Exited with status 1' };
    await complete(bad.guid, failure);
    await complete(good.guid, { ...failure, task_guid: good.guid });
    expect((await get(good.guid)).state).to.equal('SUCCEEDED');
    expect(await get(bad.guid)).to.deep.include({
      state: 'FAILED',
      result: { failure_reason: 'Exited with status 1' },
    });
    const { resources } = (await cc.call('GET', `/v3/apps/${app}/tasks`)).body;
    expect(resources.map(({ sequence_id: id }: Message) => id)).to.deep.equal([1, 2]);
  });

  it('are cancelled at the bridge, and fail when it tells of their end', async () => {
    const { guid } = (await create()).body;
    const cancelled = await cc.call('PUT', `/v3/tasks/${guid}/cancel`);
    expect([cancelled.status, cancelled.body.state]).to.deep.equal([202, 'CANCELING']);
    expect(bridge.lines).to.include(`DELETE /v1/tasks/${guid}`);
    await complete(guid, { task_guid: guid, failed: true, failure_reason: 'task was cancelled' });
    expect((await get(guid)).state).to.equal('FAILED');
    const again = await cc.call('PUT', `/v3/tasks/${guid}/cancel`);
    expect([again.status, again.body.code]).to.deep.equal([422, 10_008]);
  });

  it('have failed when the bridge does not take them', async () => {
    bridge.refuse = () => ({ status: 400 });
    const { status, body } = await create();
    expect([status, body.code]).to.deep.equal([500, 170_019]);
    const { resources } = (await cc.call('GET', `/v3/apps/${app}/tasks`)).body;
    expect(resources[0]).to.deep.include({
      state: 'FAILED',
      result: { failure_reason: 'Unable to request task to be run' },
    });
  });

  it('are refused without a droplet or a command', async () => {
    [app] = cc.insertApps([{}]) as [string];
    expect((await create()).body.code).to.equal(10_008);
    const { status, body } = await create({ name: 'idle' });
    expect(status).to.equal(422);
    expect(body.description).to.contain('command');
  });

  it('are in the bulk data of the bridge, in pages, until their app is gone', async () => {
    const guids: string[] = [];
    for (let count = 0; count < 3; count += 1) guids.push((await create()).body.guid);
    const all = async () => {
      const found: Message[] = [];
      for (let token: Message = {}; token.id !== null; ) {
        const query = `batch_size=2&token=${encodeURIComponent(JSON.stringify(token))}`;
        const { body } = await askController(cc.url, 'GET', `/internal/v3/bulk/task_states?${query}`);
        found.push(...body.task_states);
        token = body.token;
      }
      return found.filter(({ task_guid: guid }) => guids.includes(guid));
    };
    expect((await all()).map(({ task_guid, state }) => [task_guid, state])).to.deep.equal(
      guids.map((guid) => [guid, 'RUNNING']),
    );
    await cc.call('DELETE', `/v2/apps/${app}`);
    expect(await all()).to.deep.equal([]);
  });

  it('refuse an end that is none, or of another task, and wrong credentials', async () => {
    const { guid } = (await create()).body;
    const codeOf = async (path: string, body: unknown) => (await complete(path, body)).body.code;
    expect(await codeOf('unknown', {})).to.equal(10_000);
    expect(await codeOf(guid, '{')).to.equal(1001);
    expect(await codeOf(guid, { task_guid: guid })).to.equal(10_004);
    expect(await codeOf(guid, { task_guid: 'other', failed: false })).to.equal(10_004);
    const path = `/internal/v3/tasks/${guid}/completed`;
    expect((await askController(cc.url, 'POST', path, {}, 'Basic x')).status).to.equal(401);
    expect((await get(guid)).state).to.equal('RUNNING');
  });
});
