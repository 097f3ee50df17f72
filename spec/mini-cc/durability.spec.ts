import { createHash, randomBytes } from 'node:crypto';
import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { expect } from 'chai';
import { openDatabase } from '../../lib/mini-cc/store/database.js';
import { eventually } from '../support/eventually.js';
import { stagingCredentials } from '../support/mini-cc.js';
import { type MiniCcProcess, startMiniCcProcess } from '../support/mini-cc-process.js';
import { type NatsServer, startNats } from '../support/nats.js';
import { type Message, Peer } from '../support/peer.js';
import { dropletForm, ScriptedAgent } from '../support/scripted-agent.js';
import { zipDirectory } from '../support/zip.js';

describe('the miniature Cloud Controller as a process', () => {
  let nats: NatsServer;
  let cc: MiniCcProcess;

  before(async () => {
    nats = await startNats();
  });

  after(() => nats.stop());

  beforeEach(async () => {
    cc = await startMiniCcProcess(nats.url, {
      staging: { auth: stagingCredentials },
      buildpacks: [{ name: 'static', path: 'spec/fixtures/buildpacks/static-buildpack' }],
    });
  });

  afterEach(() => cc.stop());

  const call = async (method: string, path: string, body?: Message): Promise<Message> => {
    const response = await fetch(`${cc.url}${path}`, {
      method,
      headers: { Authorization: `bearer ${cc.token}`, 'Content-Type': 'application/json' },
      ...(body && { body: JSON.stringify(body) }),
    });
    expect(response.status, `${method} ${path}`).to.be.below(300);
    return (await response.json()) as Message;
  };
  const basic = `Basic ${Buffer.from(`${stagingCredentials.user}:${stagingCredentials.password}`).toString('base64')}`;
  const upload = async (guid: string, content: Buffer): Promise<void> => {
    const form = dropletForm(content);
    const response = await fetch(`${cc.url}/staging/droplets/${guid}/upload`, {
      method: 'POST',
      headers: { Authorization: basic, ...form.headers },
      body: form.body,
    });
    expect(response.status).to.equal(200);
  };

  it('keeps every change that it has accepted through kill -9', async () => {
    const accepted: Message[] = [];
    for (let round = 0; round < 3; round += 1) {
      const app = await call('POST', '/v2/apps', { name: `app-${round}`, env: { ROUND: String(round) } });
      const droplet = randomBytes(50_000);
      await upload(app.guid, droplet);
      accepted.push(await call('PUT', `/v2/apps/${app.guid}`, { memory: 100 + round }));
      await cc.kill();
      await cc.restart();
      for (const before of accepted) {
        const { running_instances: _unused, ...now } = await call('GET', `/v2/apps/${before.guid}`);
        expect(now).to.deep.equal(before);
      }
      const download = await fetch(`${cc.url}/staging/droplets/${app.guid}/download`, {
        headers: { Authorization: basic },
      });
      const sha1 = createHash('sha1')
        .update(Buffer.from(await download.arrayBuffer()))
        .digest('hex');
      expect(sha1).to.equal(createHash('sha1').update(droplet).digest('hex'));
    }
  });

  it('keeps its token over restarts, in a file that only its user can read', async () => {
    const { token } = cc;
    expect((await stat(join(cc.home, '.isthmus', 'target.json'))).mode & 0o777).to.equal(0o600);
    expect((await stat(join(cc.home, 'data', 'secrets.json'))).mode & 0o777).to.equal(0o600);
    expect(await cc.terminate()).to.equal(0);
    expect(await stat(join(cc.home, '.isthmus', 'target.json')).catch(() => 'gone')).to.equal('gone');
    await cc.restart();
    expect(cc.token).to.equal(token);
  });

  it('gives up, at its next start, a staging whose replies were lost with it', async () => {
    const peer = await Peer.connect(nats.url);
    const agent = await ScriptedAgent.start({ natsUrl: nats.url, stage: async (script) => script.setUp() });
    try {
      const { guid } = await call('POST', '/v2/apps', { name: 'shop', buildpack: 'static' });
      const form = new FormData();
      const zip = await zipDirectory('spec/fixtures/apps/static');
      form.append('application', new Blob([new Uint8Array(zip)]), 'app.zip');
      const headers = { Authorization: `bearer ${cc.token}` };
      await fetch(`${cc.url}/v2/apps/${guid}/bits`, { method: 'PUT', headers, body: form });
      await eventually(async () => ((await call('GET', '/v2/cells')).resources.length === 1 ? true : undefined));
      await call('PUT', `/v2/apps/${guid}`, { state: 'STARTED' });
      await cc.kill();
      const { mark } = peer;
      await cc.restart();
      const app = await eventually(async () => {
        const found = await call('GET', `/v2/apps/${guid}`);
        return found.package_state === 'FAILED' ? found : undefined;
      });
      expect(app.staging_failed_description).to.contain('restarted');
      expect(await peer.next('staging.stop', () => true, { since: mark })).to.deep.equal({ app_id: guid });
    } finally {
      await agent.stop();
      await peer.close();
    }
  });

  it('makes buildpacks of directories, and the same ones again after a restart', async () => {
    const before = (await call('GET', '/v2/buildpacks')).resources;
    expect(before).to.have.length(1);
    expect(before[0]).to.include({ name: 'static', position: 1, enabled: true });
    await cc.kill();
    await cc.restart();
    expect((await call('GET', '/v2/buildpacks')).resources).to.deep.equal(before);
  });

  it('writes with full synchronisation to the disk', () => {
    const database = openDatabase(join(cc.home, 'other.db'));
    expect(database.pragma('synchronous', { simple: true })).to.equal(2);
    expect(database.pragma('journal_mode', { simple: true })).to.equal('wal');
    database.pragma('user_version = 99');
    database.close();
    expect(() => openDatabase(join(cc.home, 'other.db'))).to.throw('schema version 99');
  });
});
