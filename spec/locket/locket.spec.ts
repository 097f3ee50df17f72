import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { parseConfig } from '../../lib/config/load.js';
import { type LocketConfig, locketConfigSchema } from '../../lib/locket/config.js';
import { Locket } from '../../lib/locket/locket.js';
import { LocketClient } from '../../lib/locks/client/locket-client.js';
import { silentLogger } from '../../lib/logging/logger.js';
import { lock, presence } from '../locks/store-contract.js';
import { eventually } from '../support/eventually.js';
import { makeIdentity, type TestIdentity } from '../support/locket.js';
import { startMetron } from '../support/metron.js';
import { type RedisServer, startRedis } from '../support/redis.js';
import { rejectionOf } from '../support/rejection.js';

describe('Locket', () => {
  let identity: TestIdentity;
  let directory: string;
  const running: { stop(): Promise<void> }[] = [];

  before(() => {
    identity = makeIdentity();
  });

  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), 'locket-'));
  });

  afterEach(async () => {
    for (const component of running.splice(0).reverse()) await component.stop();
    await rm(directory, { recursive: true });
  });

  after(() => identity.remove());

  function configured(keys: Record<string, unknown>): LocketConfig {
    const { caFile, certFile, keyFile } = identity.files;
    const common = {
      listen_address: '127.0.0.1:0',
      debug_address: '127.0.0.1:0',
      report_interval: '100ms',
      ca_file: caFile,
      cert_file: certFile,
      key_file: keyFile,
    };
    return parseConfig('locket.json', { ...common, ...keys }, locketConfigSchema);
  }

  async function start(keys: Record<string, unknown>) {
    const failures: Error[] = [];
    const locket = Locket.create({
      config: configured(keys),
      onFailure: (error) => failures.push(error),
      logger: silentLogger,
    });
    running.push(locket);
    await locket.start();
    const client = new LocketClient({ address: `127.0.0.1:${locket.port}`, identity, timeoutMs: 5000 });
    running.push(client);
    const get = (path: string) => fetch(`http://127.0.0.1:${locket.statusPort}${path}`);
    const figure = async (name: string) => {
      const text = await (await get('/metrics')).text();
      return Number(
        text
          .split('\n')
          .find((line) => line.startsWith(`${name} `))
          ?.split(' ')[1],
      );
    };
    return { locket, client, get, figure, failures };
  }

  const sqlite = () => ({ database_driver: 'sqlite3', database_connection_string: join(directory, 'locks.db') });

  it('serves one database with several processes, and counts each expiry once', async () => {
    const [first, second] = [await start(sqlite()), await start(sqlite())];
    await first.client.acquire(lock('a', 'one'), 1000);
    await second.client.acquire(presence('p', 'one'), 1000);
    expect((await second.client.fetch('a'))?.owner).to.equal('one');
    const sum = async (name: string) => (await first.figure(name)) + (await second.figure(name));
    await eventually(async () => ((await sum('locket_presence_expired_total')) > 0 ? true : undefined));
    await eventually(async () => ((await sum('locket_locks_expired_total')) > 0 ? true : undefined));
    expect(await first.client.list('lock')).to.deep.equal([]);
    await first.client.acquire(lock('b', 'one'), 1000);
    await eventually(async () => ((await sum('locket_locks_expired_total')) > 1 ? true : undefined));
    expect([await sum('locket_locks_expired_total'), await sum('locket_presence_expired_total')]).to.deep.equal([2, 1]);
  });

  it('tells its figures and its health', async () => {
    const { client, get, figure } = await start({ ...sqlite(), enable_db_health_check: true });
    await client.acquire(lock('a', 'one'), 60_000);
    await client.acquire(presence('p', 'one'), 60_000);
    await rejectionOf(client.acquire(lock('a', 'two'), 60_000));
    await rejectionOf(client.acquire(lock('a', ''), 60_000));
    await eventually(async () => ((await figure('locket_active_locks')) === 1 ? true : undefined));
    const type = '{request_type="Lock"}';
    expect(await figure('locket_active_presences')).to.equal(1);
    // A collision counts as a success.
    expect(await figure(`locket_requests_started_total${type}`)).to.equal(4);
    expect(await figure(`locket_requests_succeeded_total${type}`)).to.equal(3);
    expect(await figure(`locket_requests_failed_total${type}`)).to.equal(1);
    expect(await figure(`locket_requests_in_flight${type}`)).to.equal(0);
    expect(await figure(`locket_request_latency_max${type}`)).to.be.a('number');
    expect(await figure('locket_db_queries_total')).to.be.greaterThan(0);
    expect(await figure('locket_db_queries_succeeded_total')).to.be.greaterThan(0);
    const health = await get('/health');
    expect([health.status, await health.text()]).to.deep.equal([200, 'ok\n']);
    expect((await get('/other')).status).to.equal(404);
  });

  it('emits them to a Metron', async () => {
    const metron = await startMetron();
    running.push({ stop: async () => metron.stop() });
    const { client } = await start({ data_directory: join(directory, 'data'), dropsonde_port: metron.port });
    await client.acquire(lock('a', 'one'), 60_000);
    const { started } = await eventually(() => {
      const found = metron.envelopes.filter(({ origin }) => origin === 'locket');
      const active = found.find(({ value }) => value?.name === 'ActiveLocks' && value.value === 1);
      const started = found.find(({ counter }) => counter?.name === 'RequestsStarted');
      return active && started ? { active, started } : undefined;
    });
    expect([started.counter?.delta, started.tags]).to.deep.equal([1, { 'request-type': 'Lock' }]);
  });

  describe('on Redis', () => {
    let redis: RedisServer;

    before(async () => {
      redis = await startRedis();
    });

    after(() => redis.stop());

    it('serves it, and is unhealthy while it is away', async () => {
      const { client, get } = await start({ redis: { url: redis.url, quarantine: '0s' } });
      await client.acquire(lock('a', 'one'), 60_000);
      expect((await get('/health')).status).to.equal(200);
      await redis.kill();
      await eventually(async () => ((await get('/health')).status === 503 ? true : undefined));
      expect((await rejectionOf(client.acquire(lock('a', 'one'), 60_000))).message).to.match(/^Locket: .*Redis/);
      await redis.restart();
      await eventually(() => client.acquire(lock('a', 'one'), 60_000));
    });
  });

  it('keeps nothing open when it cannot start', async () => {
    const keys = { data_directory: join(directory, 'data') };
    const { locket } = await start(keys);
    expect((await rejectionOf(start(keys))).message).to.include('is in use by another process');
    const taken = { ...sqlite(), listen_address: `127.0.0.1:${locket.port}` };
    expect((await rejectionOf(start(taken))).message).to.match(/cannot listen on 127\.0\.0\.1:\d+: .*EADDRINUSE/);
  });

  describe('its configuration', () => {
    const problem = (keys: Record<string, unknown>) => {
      try {
        configured(keys);
      } catch (error) {
        return (error as Error).message;
      }
      return 'none';
    };

    it('takes upstream’s file', () => {
      const config = configured({
        ...sqlite(),
        database_driver: 'mysql',
        database_connection_string: 'locket:pw@tcp(db:3306)/locket',
        max_open_database_connections: 100,
        max_database_connection_lifetime: '1h0m0s',
        report_interval: '1m',
        debug_address: '127.0.0.1:17018',
        loggregator: { loggregator_use_v2_api: true },
        log_level: 'debug',
      });
      expect(config).to.deep.include({
        report_interval: 60_000,
        debug_address: { host: '127.0.0.1', port: 17_018 },
        db_operation_timeout: 10_000,
      });
    });

    it('names what is wrong', () => {
      const embedded = { data_directory: '/data' };
      expect(problem({})).to.equal(
        'locket.json: database_driver: missing key; or give redis or data_directory instead',
      );
      expect(problem({ ...sqlite(), ...embedded })).to.include('database_driver: give one of');
      expect(problem({ database_driver: 'mssql' })).to.include('database_driver: must be sqlite3, mysql, postgres');
      expect(problem({ database_driver: 'mysql' })).to.include('database_connection_string: missing key');
      expect(problem({ ...embedded, listen_address: '8891' })).to.include('listen_address: must be an address such as');
      expect(problem({ ...embedded, listen_address: '0.0.0.0:99999' })).to.include(
        'listen_address: must be an address',
      );
      expect(problem({ ...embedded, report_interval: 'soon' })).to.include('report_interval: expected seconds');
      expect(problem({ ...embedded, ca_file: undefined })).to.include('ca_file: missing key');
      expect(problem({ redis: {} })).to.include('redis.url: give either url or sentinels');
      expect(problem({ redis: { sentinels: ['a:1'] } })).to.include('redis.master_name: missing key');
      expect(problem({ ...embedded, enable_db_health_check: true })).to.include(
        'enable_db_health_check: needs database_driver',
      );
    });
  });
});
