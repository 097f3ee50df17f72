import { expect } from 'chai';
import { eventually } from '../../support/eventually.js';
import { type RunningMiniCc, startMiniCc } from '../../support/mini-cc.js';
import { type NatsServer, startNats } from '../../support/nats.js';
import { type Message, Peer } from '../../support/peer.js';
import { fetchBytes, ScriptedAgent, type StagingScript, stageWell } from '../../support/scripted-agent.js';

const staticApp = 'spec/fixtures/apps/static';
const staticBuildpack = 'spec/fixtures/buildpacks/static-buildpack';

describe('staging an app', () => {
  let nats: NatsServer;
  let cc: RunningMiniCc;
  let agent: ScriptedAgent;
  let peer: Peer;
  let stage: (script: StagingScript) => Promise<void>;

  before(async () => {
    nats = await startNats();
  });

  after(() => nats.stop());

  beforeEach(async () => {
    stage = stageWell;
    peer = await Peer.connect(nats.url);
    cc = await startMiniCc({ natsUrl: nats.url, config: { staging: { timeout_in_seconds: 2 } } });
    await cc.addBuildpack('scripted', staticBuildpack);
    agent = await ScriptedAgent.start({ natsUrl: nats.url, stage: (script) => stage(script) });
    await cellsKnown(1);
  });

  afterEach(async () => {
    await agent.stop();
    await cc.stop();
    await peer.close();
  });

  async function cellsKnown(count: number): Promise<void> {
    await eventually(() => (cc.miniCc.cellIds.length === count ? true : undefined), { what: 'the cells' });
  }

  async function newApp(fields: Message = {}): Promise<string> {
    const { body } = await cc.call('POST', '/v2/apps', { name: 'shop', routes: ['shop.localhost'], ...fields });
    expect((await cc.uploadBits(body.guid, staticApp)).status).to.equal(201);
    return body.guid;
  }

  const start = (guid: string) => cc.call('PUT', `/v2/apps/${guid}`, { state: 'STARTED' });
  const record = async (guid: string) => (await cc.call('GET', `/v2/apps/${guid}`)).body;
  const packageState = (guid: string, state: string) =>
    eventually(async () => ((await record(guid)).package_state === state ? true : undefined), {
      what: `package_state ${state}`,
    });

  it('goes through both replies to a staged, running app', async () => {
    const guid = await newApp({ instances: 3, command: 'perl x', env: { A: 'b' } });
    const { status, headers, body } = await start(guid);
    expect(status).to.equal(201);
    expect(body).to.include({ state: 'STARTED' });
    await packageState(guid, 'STAGED');
    const staged = await record(guid);
    expect(headers.get('X-App-Staging-Log')).to.match(
      /^http:\/\/\w{32}\.localhost\/staging_tasks\/\w{32}\/file_path\?/,
    );
    expect(staged).to.include({ detected_buildpack: 'Scripted', detected_start_command: 'run it' });
    await eventually(() => (agent.instances.length === 3 ? true : undefined));
    const starts = peer.all(`dea.${agent.id}.start`).map(({ data }) => data);
    expect(starts.map(({ index }) => index)).to.deep.equal([1, 2]);
    for (const message of starts) expect(message).to.include({ version: staged.version, sha1: staged.droplet_hash });
    expect((await fetchBytes(starts[0]!.executableUri)).toString()).to.match(/^droplet of PK/);
  });

  it('asks for it as stagers expect, right after a staging.stop', async () => {
    const guid = await newApp();
    await start(guid);
    const [message] = agent.stagings;
    const { version } = await record(guid);
    expect(message).to.deep.include({ app_id: guid, stack: 'bookworm', buildpack_cache_download_uri: null });
    expect(message!.task_id).to.match(/^[0-9a-f]{32}$/);
    expect(message!.start_message).to.include({ droplet: guid, index: 0, sha1: null, executableUri: null, version });
    const [buildpack] = message!.admin_buildpacks;
    expect(buildpack.key).to.match(/^[0-9a-f-]{36}_[0-9a-f]{40}$/);
    expect((await fetchBytes(buildpack.url)).subarray(0, 2).toString()).to.equal('PK');
    const subjects = peer.received.map(({ subject }) => subject);
    const stopped = subjects.indexOf('staging.stop');
    expect(peer.received[stopped]!.data).to.deep.equal({ app_id: guid });
    expect(subjects.indexOf(`staging.${agent.id}.start`)).to.be.greaterThan(stopped);
  });

  it('tells new stagers of the buildpacks', async () => {
    const { data } = { data: await peer.next('buildpacks', (list) => list.length === 1) };
    expect(data[0]).to.have.keys('key', 'url');
  });

  it('answers only when the stager has set itself up', async () => {
    let release = () => {};
    const isReleased = new Promise<void>((resolve) => {
      release = resolve;
    });
    stage = async (script) => {
      await isReleased;
      await stageWell(script);
    };
    const guid = await newApp();
    const answer = start(guid);
    await eventually(() => (agent.stagings.length === 1 ? true : undefined));
    expect(await record(guid)).to.include({ state: 'STARTED', package_state: 'PENDING' });
    expect((await cc.call('GET', `/v2/apps/${guid}/instances`)).body).to.deep.equal({
      code: 170002,
      description: 'App has not finished staging',
      error_code: 'CF-NotStaged',
    });
    release();
    expect((await answer).status).to.equal(201);
    await packageState(guid, 'STAGED');
  });

  it('starts all indices itself when the stager names no droplet', async () => {
    stage = async (script) => {
      script.setUp();
      await script.upload(Buffer.from('droplet'));
      script.complete({});
    };
    const guid = await newApp({ instances: 2 });
    await start(guid);
    await eventually(() => (peer.all(`dea.${agent.id}.start`).length === 2 ? true : undefined));
    expect(peer.all(`dea.${agent.id}.start`).map(({ data }) => data.index)).to.deep.equal([0, 1]);
  });

  it('starts as many instances as are wished for when the staging ends', async () => {
    let release = () => {};
    const isReleased = new Promise<void>((resolve) => {
      release = resolve;
    });
    stage = async (script) => {
      script.setUp();
      await isReleased;
      script.complete({ droplet_sha1: await script.upload(Buffer.from('droplet')) });
    };
    const guid = await newApp({ instances: 1 });
    await start(guid);
    await cc.call('PUT', `/v2/apps/${guid}`, { instances: 2 });
    release();
    await eventually(() => (agent.instances.length === 2 ? true : undefined));
  });

  it('fails with the stager reason in the first reply, and rolls the start back', async () => {
    stage = async (script) => script.setUp({ error: 'Error downloading: HTTP status: 404' });
    const guid = await newApp();
    const { status, body } = await start(guid);
    expect(status).to.equal(400);
    expect(body).to.deep.equal({
      code: 170001,
      description: 'Staging error: failed to stage application:\nError downloading: HTTP status: 404',
      error_code: 'CF-StagingError',
    });
    expect(await record(guid)).to.include({ package_state: 'FAILED', state: 'STOPPED' });
  });

  it('shows the reason of a failure in the second reply to whoever asks for the instances', async () => {
    stage = async (script) => {
      script.setUp();
      script.complete({
        error: 'Script exited with status 1',
        error_info: { type: 'NoAppDetectedError', message: 'An application could not be detected' },
      });
    };
    const guid = await newApp();
    expect((await start(guid)).status).to.equal(201);
    await packageState(guid, 'FAILED');
    expect(await record(guid)).to.include({ staging_failed_reason: 'NoAppDetectedError' });
    const { status, body } = await cc.call('GET', `/v2/apps/${guid}/instances`);
    expect(status).to.equal(400);
    expect(body).to.include({ code: 170003, error_code: 'CF-NoAppDetectedError' });
  });

  it('gives up when the first reply does not come, and lets a late second one change nothing', async () => {
    let late: StagingScript | undefined;
    stage = async (script) => {
      late = script;
    };
    const guid = await newApp();
    const { status, body } = await start(guid);
    expect(status).to.equal(400);
    expect(body.error_code).to.equal('CF-StagingError');
    late!.complete({ droplet_sha1: 'abc' });
    await agent.stop();
    expect(await record(guid)).to.include({ package_state: 'FAILED', detected_buildpack: null });
    expect(peer.all(`dea.${agent.id}.start`)).to.deep.equal([]);
  });

  it('gives up when the second reply does not come', async () => {
    stage = async (script) => script.setUp();
    const guid = await newApp();
    expect((await start(guid)).status).to.equal(201);
    await packageState(guid, 'FAILED');
    expect((await record(guid)).staging_failed_reason).to.equal('StagingError');
  });

  it('ignores the replies of a staging that another one replaced', async () => {
    const scripts: StagingScript[] = [];
    stage = async (script) => {
      scripts.push(script);
      if (scripts.length === 1) script.setUp();
      else await stageWell(script);
    };
    const guid = await newApp();
    await start(guid);
    await cc.call('PUT', `/v2/apps/${guid}`, { state: 'STOPPED' });
    await start(guid);
    scripts[0]!.complete({ error: 'Error staging: task stopped' });
    await packageState(guid, 'STAGED');
    expect(peer.all('staging.stop', { app_id: guid }).length).to.be.at.least(2);
  });

  it('ends with its app: a stopped app stays as it was, a deleted one stays deleted', async () => {
    const scripts: StagingScript[] = [];
    stage = async (script) => {
      scripts.push(script);
      script.setUp();
    };
    const guid = await newApp();
    await start(guid);
    await cc.call('PUT', `/v2/apps/${guid}`, { state: 'STOPPED' });
    expect(await record(guid)).to.include({ package_state: 'PENDING', staging_task_id: null });
    await start(guid);
    expect((await cc.call('DELETE', `/v2/apps/${guid}`)).status).to.equal(204);
    for (const script of scripts) script.complete({ droplet_sha1: 'abc' });
    expect((await cc.call('GET', `/v2/apps/${guid}`)).body.error_code).to.equal('CF-AppNotFound');
    expect(peer.all(`dea.${agent.id}.start`)).to.deep.equal([]);
  });

  it('offers the buildpack cache of the staging before', async () => {
    stage = async (script) => {
      const { url, headers } = bare(script.message.buildpack_cache_upload_uri);
      const form = new FormData();
      form.append('upload[droplet]', new Blob([Buffer.from('the cache')]), 'buildpack_cache.tgz');
      const response = await fetch(`${url}?async=true`, { method: 'POST', headers, body: form });
      expect(await response.text()).to.equal('');
      await stageWell(script);
    };
    const guid = await newApp();
    await start(guid);
    await packageState(guid, 'STAGED');
    await cc.call('POST', `/v2/apps/${guid}/restage`);
    const uri = agent.stagings[1]!.buildpack_cache_download_uri;
    expect((await fetchBytes(uri)).toString()).to.equal('the cache');
  });

  it('refuses what cannot be staged before it asks anybody', async () => {
    const { body: bitless } = await cc.call('POST', '/v2/apps', { name: 'bitless' });
    expect((await start(bitless.guid)).body.error_code).to.equal('CF-AppPackageInvalid');
    const guid = await newApp({ buildpack: 'unknown' });
    expect((await start(guid)).body).to.include({ code: 100001, error_code: 'CF-AppInvalid' });
    expect(await record(guid)).to.include({ state: 'STOPPED' });
    await cc.call('PUT', `/v2/apps/${guid}`, { buildpack: null, stack: 'lucid64' });
    expect((await start(guid)).body).to.include({ code: 250003, error_code: 'CF-StackNotFound' });
    const [buildpack] = (await cc.call('GET', '/v2/buildpacks')).body.resources;
    await cc.call('PUT', `/v2/buildpacks/${buildpack.guid}`, { enabled: false });
    await cc.call('PUT', `/v2/apps/${guid}`, { stack: 'bookworm' });
    expect((await start(guid)).body).to.include({ code: 170006, error_code: 'CF-NoBuildpacksFound' });
    expect(agent.stagings).to.deep.equal([]);
  });

  it('uses a git URL without any admin buildpack', async () => {
    const [buildpack] = (await cc.call('GET', '/v2/buildpacks')).body.resources;
    await cc.call('DELETE', `/v2/buildpacks/${buildpack.guid}`);
    const guid = await newApp({ buildpack: 'https://git.example.com/bp.git' });
    expect((await start(guid)).status).to.equal(201);
    expect(agent.stagings[0]!.properties.buildpack_git_url).to.equal('https://git.example.com/bp.git');
  });
});

function bare(text: string): { url: string; headers: Record<string, string> } {
  const url = new URL(text);
  const userinfo = `${decodeURIComponent(url.username)}:${decodeURIComponent(url.password)}`;
  url.username = '';
  url.password = '';
  return { url: url.href, headers: { Authorization: `Basic ${Buffer.from(userinfo).toString('base64')}` } };
}
