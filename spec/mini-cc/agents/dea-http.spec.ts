import { expect } from 'chai';
import { basicAuthorization } from '../../../lib/http/url.js';
import { type Certificate, CertificateAuthority } from '../../support/certificates.js';
import { type DeaHttps, startDeaHttps } from '../../support/dea-https.js';
import { eventually } from '../../support/eventually.js';
import { bulkCredentials, internalCredentials, type RunningMiniCc, startMiniCc } from '../../support/mini-cc.js';
import { type NatsServer, startNats } from '../../support/nats.js';
import { type Message, Peer } from '../../support/peer.js';
import { ScriptedAgent } from '../../support/scripted-agent.js';

/** One agent, the taker, takes messages over HTTPS; the other one has no such address, or refuses. */
describe('agents that take messages over HTTPS', () => {
  let authority: CertificateAuthority;
  let takerCertificate: Certificate;
  let ccCertificate: Certificate;
  let nats: NatsServer;
  let peer: Peer;
  let cc: RunningMiniCc;
  let taker: DeaHttps;
  let agents: ScriptedAgent[];
  let guid: string;
  let version: string;

  before(async () => {
    authority = CertificateAuthority.create();
    takerCertificate = authority.issue({ alternativeNames: 'IP:127.0.0.1' });
    ccCertificate = authority.issue({ commonName: 'cloud controller' });
    nats = await startNats();
    peer = await Peer.connect(nats.url);
  });

  after(async () => {
    await peer.close();
    await nats.stop();
    authority.remove();
  });

  beforeEach(async () => {
    agents = [];
    taker = await startDeaHttps(takerCertificate, authority.cert);
    cc = await startController();
    await cc.addBuildpack('scripted', 'spec/fixtures/buildpacks/static-buildpack');
    const { body } = await cc.call('POST', '/v2/apps', { name: 'shop', instances: 3 });
    guid = body.guid;
    await cc.uploadBits(guid, 'spec/fixtures/apps/static');
  });

  afterEach(async () => {
    for (const agent of agents) await agent.stop();
    await cc.stop();
    await taker.stop();
  });

  function startController(options: { directory?: string } = {}): Promise<RunningMiniCc> {
    const { keyFile: key_file, certFile: cert_file } = ccCertificate;
    return startMiniCc({
      natsUrl: nats.url,
      ...options,
      config: {
        dea_client: { key_file, cert_file, ca_file: authority.certFile },
        staging: { timeout_in_seconds: 2 },
      },
    });
  }

  async function startAgent(url?: string, memoryMb = 8192): Promise<ScriptedAgent> {
    const agent = await ScriptedAgent.start({ natsUrl: nats.url, memoryMb, ...(url !== undefined && { url }) });
    agents.push(agent);
    await eventually(() => (cc.miniCc.cellIds.includes(agent.id) ? true : undefined), { what: 'the cell' });
    return agent;
  }

  const start = () => cc.call('PUT', `/v2/apps/${guid}`, { state: 'STARTED' });
  /** The app as if it had been staged before. */
  function haveStaged(): void {
    cc.alterApp(guid, { package_state: 'STAGED', droplet_hash: 'b658' });
  }
  const takenAt = (path: string) => taker.taken.filter((taken) => taken.path === path).map(({ message }) => message);
  async function complete(fields: Message, { app = guid, user = internalCredentials } = {}): Promise<Message> {
    const response = await fetch(`${cc.url}/internal/dea/staging/${app}/completed`, {
      method: 'POST',
      headers: { authorization: basicAuthorization(user) },
      body: typeof fields === 'string' ? fields : JSON.stringify(fields),
    });
    return { status: response.status, ...((await response.json()) as Message) };
  }
  /** What a stager tells in the end. */
  const completion = (task: string) => ({
    task_id: task,
    detected_buildpack: 'Scripted',
    buildpack_key: null,
    droplet_sha1: 'b658',
    detected_start_command: 'run it',
    app_id: guid,
    dea_id: agents[0]!.id,
  });

  it('get their starts there, and nothing of them goes over the bus', async () => {
    const agent = await startAgent(taker.url);
    haveStaged();
    const { status, body } = await start();
    ({ version } = body);
    expect(status).to.equal(201);
    expect(takenAt('/v1/apps').map(({ index }) => index)).to.have.members([0, 1, 2]);
    expect(takenAt('/v1/apps')[0]).to.deep.include({ droplet: guid, version, sha1: 'b658' });
    expect(peer.all(`dea.${agent.id}.start`)).to.deep.equal([]);
  });

  it('are passed over when they take no more', async () => {
    taker.judge = () => 503;
    const leaving = await startAgent(taker.url, 16_384);
    // Its next advertisement would bring it back: one that leaves sends none.
    await leaving.stop();
    agents.pop();
    const other = await startAgent(undefined, 4096);
    haveStaged();
    expect((await start()).status).to.equal(201);
    await eventually(() => (other.instances.length === 3 ? true : undefined), { what: 'all instances elsewhere' });
    expect(cc.miniCc.cellIds).to.deep.equal([other.id]);
    expect(takenAt('/v1/apps')).not.to.deep.equal([]);
  });

  it('that all take no more leave no room for the app', async () => {
    taker.judge = () => 503;
    await startAgent(taker.url);
    haveStaged();
    expect((await start()).body).to.include({ error_code: 'CF-InsufficientRunningResourcesAvailable' });
    expect((await cc.call('GET', `/v2/apps/${guid}`)).body.state).to.equal('STOPPED');
  });

  it('that cannot be reached are no reason to refuse: the health manager repairs it', async () => {
    await startAgent('https://127.0.0.1:1');
    haveStaged();
    expect((await start()).status).to.equal(201);
  });

  it('stage there: no first reply, the second one as a request, then the other instances', async () => {
    const agent = await startAgent(taker.url);
    const { status, headers } = await start();
    expect([status, headers.get('X-App-Staging-Log')]).to.deep.equal([201, null]);
    const [message] = takenAt('/v1/stage') as [Message];
    expect(message).to.include({ app_id: guid, accepts_http: true });
    expect(agent.stagings).to.deep.equal([]);
    cc.alterApp(guid, { droplet_hash: 'b658' });

    expect(await complete(completion('another'))).to.include({ status: 400, error_code: 'CF-InvalidRequest' });
    expect(await complete(completion(message.task_id), { user: bulkCredentials })).to.include({ status: 401 });
    expect(await complete(completion(message.task_id), { app: 'unknown' })).to.include({ status: 404 });
    expect(await complete('}{' as never)).to.include({ status: 400, error_code: 'CF-MessageParseError' });

    expect(await complete(completion(message.task_id))).to.deep.equal({ status: 200 });
    const app = (await cc.call('GET', `/v2/apps/${guid}`)).body;
    expect(app).to.include({ package_state: 'STAGED', detected_buildpack: 'Scripted' });
    expect(takenAt('/v1/apps').map(({ index }) => index)).to.have.members([1, 2]);
    expect(await complete(completion(message.task_id))).to.include({ status: 400 });
  });

  it('tell of a failed staging there, too', async () => {
    await startAgent(taker.url);
    await start();
    const [{ task_id }] = takenAt('/v1/stage') as [Message];
    const error_info = { type: 'BuildpackCompileFailed', message: 'it did not compile' };
    expect(await complete({ task_id, error: 'x', error_info })).to.deep.equal({ status: 200 });
    expect((await cc.call('GET', `/v2/apps/${guid}/instances`)).body).to.include({
      error_code: 'CF-BuildpackCompileFailed',
    });
  });

  it('are asked on the bus when they have no such path', async () => {
    taker.judge = (path) => (path === '/v1/stage' ? 404 : 202);
    const agent = await startAgent(taker.url);
    expect((await start()).headers.get('X-App-Staging-Log')).to.match(/^http:/);
    expect(agent.stagings).to.have.length(1);
  });

  it('that take no staging leave it to another stager', async () => {
    taker.judge = () => 503;
    await startAgent(taker.url);
    expect((await start()).body).to.include({ error_code: 'CF-StagingError' });
    const other = await startAgent();
    expect((await start()).status).to.equal(201);
    expect(other.stagings).to.have.length(1);
  });

  it('fail a staging that they do not take, or never end', async () => {
    taker.judge = () => 500;
    await startAgent(taker.url);
    expect((await start()).body.description).to.match(/takes nothing$/);
    taker.judge = () => 202;
    expect((await start()).status).to.equal(201);
    const failed = await eventually(
      async () => {
        const app = (await cc.call('GET', `/v2/apps/${guid}`)).body;
        return app.package_state === 'FAILED' ? app : undefined;
      },
      { what: 'the end of patience' },
    );
    expect(failed.staging_failed_description).to.contain('no answer from the stager');
  });

  it('may tell of the end to the next process', async () => {
    await startAgent(taker.url);
    await start();
    const [{ task_id }] = takenAt('/v1/stage') as [Message];
    await cc.miniCc.stop();
    cc = await startController({ directory: cc.directory });
    expect(await complete(completion(task_id))).to.deep.equal({ status: 200 });
    expect((await cc.call('GET', `/v2/apps/${guid}`)).body.package_state).to.equal('STAGED');
  });
});
