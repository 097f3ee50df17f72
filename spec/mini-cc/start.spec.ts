import { once } from 'node:events';
import { cp, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { type AddressInfo, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { loadHealthManagerConfig } from '../../lib/health-manager/config.js';
import { silentLogger } from '../../lib/logging/logger.js';
import { completeMiniCcConfig, loadMiniCcConfig } from '../../lib/mini-cc/config.js';
import { MiniCc } from '../../lib/mini-cc/mini-cc.js';
import { startMiniCc } from '../support/mini-cc.js';
import { type NatsServer, startNats } from '../support/nats.js';
import { rejectionOf } from '../support/rejection.js';

describe('starting the miniature Cloud Controller', () => {
  let nats: NatsServer;
  let directory: string;

  before(async () => {
    nats = await startNats();
  });

  after(() => nats.stop());

  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), 'mini-cc-start-'));
  });

  afterEach(() => rm(directory, { recursive: true, force: true }));

  const create = (external_port: number, portFallback: boolean) =>
    MiniCc.create({
      config: completeMiniCcConfig({
        data_directory: directory,
        external_port,
        message_bus_servers: [nats.url],
        write_target_file: false,
      }),
      logger: silentLogger,
      portFallback,
    });

  it('takes another port than a taken one when it may, else says so and leaves nothing running', async () => {
    const taken = createServer().listen(0, '127.0.0.1');
    await once(taken, 'listening');
    const { port } = taken.address() as AddressInfo;
    const other = create(port, true);
    try {
      expect(await rejectionOf(create(port, false).start())).to.have.property('code', 'EADDRINUSE');
      await other.start();
      const { url } = other;
      expect(url).not.to.contain(`:${port}`);
      expect((await fetch(`${url}/v2/info`)).status).to.equal(200);
      await other.stop();
      expect(await rejectionOf(fetch(`${url}/v2/info`))).to.have.property('message', 'fetch failed');
    } finally {
      await other.stop();
      taken.close();
    }
  });

  it('packs a buildpack again only when its directory has changed', async () => {
    const path = join(directory, 'pack');
    await cp('spec/fixtures/buildpacks/static-buildpack', path, { recursive: true });
    const data = join(directory, 'data');
    const sha1AfterStart = async () => {
      const cc = await startMiniCc({
        natsUrl: nats.url,
        directory: data,
        config: { buildpacks: [{ name: 'p', path }] },
      });
      const [buildpack] = (await cc.call('GET', '/v2/buildpacks')).body.resources;
      await cc.miniCc.stop();
      return buildpack.sha1;
    };
    const first = await sha1AfterStart();
    expect(await sha1AfterStart()).to.equal(first);
    await writeFile(join(path, 'VERSION'), '2');
    expect(await sha1AfterStart()).not.to.equal(first);
  });

  it('names a buildpack whose directory is missing', async () => {
    const config = { buildpacks: [{ name: 'lost', path: '/nowhere' }] };
    const error = await rejectionOf(startMiniCc({ natsUrl: nats.url, directory, config }));
    expect(error.message).to.match(/^buildpack lost: .*\/nowhere/);
  });

  it('has a sample configuration that is complete and right', () => {
    const config = loadMiniCcConfig('config/mini-cc.yml');
    expect(config.buildpacks.map(({ name }) => name)).to.deep.equal(['static', 'procfile']);
    expect(config.external_port).to.equal(8181);
  });

  it('has a sample configuration that fits that of the health manager', () => {
    const { bulk_api, internal_api, external_port, hm9000, cc_partition } = loadMiniCcConfig('config/mini-cc.yml');
    const manager = loadHealthManagerConfig('config/hm9000.yml');
    expect(bulk_api).to.deep.equal({ auth_user: manager.cc_auth_user, auth_password: manager.cc_auth_password });
    expect(internal_api).to.deep.equal({
      auth_user: manager.api_server_username,
      auth_password: manager.api_server_password,
    });
    expect(new URL(manager.cc_base_url).port).to.equal(String(external_port));
    expect(new URL(hm9000.url).port).to.equal(String(manager.api_server_port));
    expect(cc_partition).to.equal('default');
  });

  it('names the keys that are wrong', () => {
    const complete = (extra: Record<string, unknown>) => () =>
      completeMiniCcConfig({ data_directory: 'x', message_bus_servers: ['nats://x'], ...extra });
    expect(complete({ client_token: 'short' })).to.throw('client_token: must have at least 16 characters');
    expect(complete({ default_running_security_groups: ['all'] })).to.throw(
      'default_running_security_groups[0]: is not',
    );
    expect(complete({ staging: { timeout_in_seconds: 'long' } })).to.throw('staging.timeout_in_seconds');
    expect(complete({ diego_nsync_url: 'http://bridge' })).to.throw('diego_tps_url: is needed as well');
    expect(complete({ default_to_diego_backend: true })).to.throw('diego_nsync_url: is needed as well');
    expect(complete({ hm9000: { url: 'ftp://x' } })).to.throw('hm9000.url: must be an http or https URL');
    expect(complete({ bulk_api: { auth_user: 'bulk' } })).to.throw('bulk_api.auth_password');
    expect(complete({ flapping_crash_count_threshold: 0 })).to.throw('flapping_crash_count_threshold');
    expect(() => completeMiniCcConfig({ message_bus_servers: [] } as never)).to.throw('data_directory: missing key');
  });
});
