import { execFile } from 'node:child_process';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { expect } from 'chai';
import { type BulkCloudController, bulkApps, startBulkCloudController } from '../support/bulk-cloud-controller.js';
import { eventually } from '../support/eventually.js';
import { HealthManagerProgram } from '../support/health-manager-program.js';
import { heartbeat } from '../support/health-world.js';
import { type NatsServer, startNats } from '../support/nats.js';
import { type Message, Peer } from '../support/peer.js';
import { type RedisServer, startRedis } from '../support/redis.js';

/** Programs as operators run them, on one Redis. */
describe('the programs of a health manager', function () {
  this.timeout(60_000);

  let nats: NatsServer;
  let redis: RedisServer;
  let controller: BulkCloudController;
  let peer: Peer;

  before(async () => {
    nats = await startNats();
    redis = await startRedis();
    controller = await startBulkCloudController();
    peer = await Peer.connect(nats.url);
  });

  after(async () => {
    await peer.close();
    await controller.stop();
    await redis.stop();
    await nats.stop();
  });

  const make = (config: Record<string, unknown> = {}) =>
    HealthManagerProgram.create({
      natsPort: nats.port,
      controllerUrl: controller.url,
      config: {
        store_type: 'redis',
        store_urls: [redis.url],
        actual_freshness_ttl_in_heartbeats: 2,
        grace_period_in_heartbeats: 1,
        ...config,
      },
    });

  describe('that run once', () => {
    let program: HealthManagerProgram;

    before(async () => {
      await redis.client.flushall();
      controller.apps = bulkApps(1);
      program = await make();
    });

    after(() => program.dispose());

    it('fetch, analyze, send and tidy up, and say by their status whether they could', async () => {
      const time = { HM9000_FAKE_TIME: '1435672000' };
      expect(await program.run(['fetch_desired'], time)).to.eql({ status: 0, stdout: '', stderr: '' });
      const [analysis, tidying, dump] = await Promise.all(
        [['analyze'], ['shred'], ['dump', '--raw']].map((args) => program.run(args, time)),
      );
      expect([analysis!.status, analysis!.stderr]).to.eql([1, 'analyze failed: Actual state is not fresh\n']);
      expect(tidying!.status).to.equal(0);
      const raw = dump!.stdout;
      expect(raw).to.include('Raw Dump - Current timestamp 1435672000\n');
      expect(raw).to.include('{hm}:v1:desired/app-0,v1 [TTL: ∞]:\n    1,STARTED,STAGED\n');
      expect(raw).to.include('{hm}:v1:desired-fresh [TTL:12s]:');
    });

    it('order what a fresh state asks for', async () => {
      const now = 1_435_672_000_000;
      await redis.client.set('{hm}:v1:actual-fresh', `${now - 60_000},${now + 60_000}`);
      const before = peer.mark;
      const passes = [now, now + 2000].map((ms) => ({ HM9000_FAKE_TIME: String(ms / 1000) }));
      expect((await program.run(['analyze'], passes[0])).status).to.equal(0);
      expect((await program.run(['send'], passes[1])).status).to.equal(0);
      expect(await peer.next('hm9000.start', undefined, { since: before })).to.include({
        droplet: 'app-0',
        instance_index: 0,
      });
      expect(peer.all('hm9000.start')).to.have.length(1);
    });

    it('refuse a store that only one process can see', async () => {
      const text = await readFile(program.configPath, 'utf8');
      await writeFile(program.configPath, text.replace('store_type: redis', 'store_type: memory'));
      const { status, stderr } = await program.run(['analyze']);
      expect(status).to.equal(1);
      expect(stderr).to.include('store_type: must be redis');
    });
  });

  describe('that are set up badly', () => {
    const programs: HealthManagerProgram[] = [];

    after(async () => {
      for (const program of programs) await program.dispose();
    });

    const configured = async (config: Record<string, unknown>) => {
      const program = await make(config);
      programs.push(program);
      return program;
    };

    it('say in one line that their store is not there', async () => {
      const program = await configured({ store_urls: ['redis://127.0.0.1:1'] });
      const failed = { status: 1, stdout: '', stderr: 'dump failed: no Redis answers at 127.0.0.1:1\n' };
      expect(await program.run(['dump'])).to.eql(failed);
    });

    it('make the directory of their file, and name the file when it is none', async () => {
      const program = await configured({ store_type: 'memory' });
      const rewrite = async (file: string) => {
        const text = await readFile(program.configPath, 'utf8');
        await writeFile(program.configPath, text.replace(/snapshot_file: .*/, `snapshot_file: ${file}`));
      };
      await rewrite(join(program.directory, 'new', 'state.db'));
      expect((await program.run(['dump'])).status).to.equal(0);
      await rewrite(program.configPath);
      const { status, stderr } = await program.run(['dump']);
      expect({ status, stderr }).to.eql({
        status: 1,
        stderr: `dump failed: snapshot_file ${program.configPath}: file is not a database\n`,
      });
    });

    it('name keys that they do not know, when they are asked to check', async () => {
      const { configPath } = await configured({ storetype: 'redis', etcd_require_ssl: false });
      const { stdout } = await promisify(execFile)('bin/hm9000', ['--check', configPath]);
      expect(stdout.split('\n')).to.eql([
        `${configPath}: ok`,
        'storetype: unknown key (did you mean store_type?)',
        'etcd_require_ssl: unknown key',
        '',
      ]);
    });
  });

  describe('of which two run at once', () => {
    let both: HealthManagerProgram[];
    let beating: NodeJS.Timeout;
    let since: number;

    before(async () => {
      await redis.client.flushall();
      controller.apps = bulkApps(50);
      since = peer.mark;
      both = [await make(), await make()];
      for (const program of both) program.start();
      const reported = Array.from({ length: 50 }, (_, app) => ({ app: `app-${app}`, instance: `i-${app}` }));
      const beat = () => {
        peer.connection.publish('dea.heartbeat', heartbeat('dea', [...reported, { app: 'unwanted', instance: 'u' }]));
      };
      beating = setInterval(beat, 300);
    });

    after(async () => {
      clearInterval(beating);
      for (const program of both) await program.dispose();
    });

    it('35. give one answer to each question, and a quick one about fifty apps', async () => {
      const question = controller.apps.map(({ id, version }) => ({ droplet: id, version }));
      const ask = () => peer.request('app.state.bulk', question as unknown as Message, { count: 2, timeoutMs: 500 });
      const isKnown = async () => Object.keys((await ask())[0] ?? {}).length === 50 || undefined;
      await eventually(isKnown, { what: 'the state of all apps', timeoutMs: 20_000 });
      expect(await ask()).to.have.length(1);
      const times: number[] = [];
      for (let round = 0; round < 5; round += 1) {
        const begun = performance.now();
        await peer.request('app.state.bulk', question as unknown as Message, { timeoutMs: 5000 });
        times.push(performance.now() - begun);
      }
      expect(Math.min(...times)).to.be.below(200);
    });

    it('34. tell over HTTP what they know, each of them, to those who have the password', async () => {
      const questions = [
        { droplet: 'app-7', version: 'v1' },
        { droplet: 'unwanted', version: 'v1' },
        { droplet: 'unknown', version: 'v1' },
      ];
      const ask = (program: HealthManagerProgram, user: string, body: string) =>
        fetch(`http://127.0.0.1:${program.ports.api}/bulk_app_state`, {
          method: 'POST',
          headers: { authorization: `Basic ${Buffer.from(user).toString('base64')}` },
          body,
        });
      for (const program of both) {
        const answer = await ask(program, 'api:secret', JSON.stringify(questions));
        expect(answer.status).to.equal(200);
        const states = (await answer.json()) as Record<string, Message>;
        expect(Object.keys(states).sort()).to.eql(['app-7', 'unwanted']);
        expect(states['app-7']!.desired).to.include({ id: 'app-7', instances: 1, state: 'STARTED' });
        const [beat] = states['app-7']!.instance_heartbeats;
        expect(beat).to.include({ instance: 'i-7', index: 0, state: 'RUNNING', dea_guid: 'dea' });
        expect((await ask(program, 'api:wrong', JSON.stringify(questions))).status).to.equal(401);
        expect(await (await ask(program, 'api:secret', '[')).text()).to.equal('{}');
      }
    });

    it('order each thing once, and start nothing that runs', async () => {
      await eventually(() => peer.all('hm9000.stop')[2], { what: 'three stops', timeoutMs: 20_000 });
      const stops = peer
        .all('hm9000.stop')
        .map(({ data, at }) => ({ id: data.message_id, guid: data.instance_guid, at }));
      expect(new Set(stops.map(({ guid }) => guid))).to.eql(new Set(['u']));
      expect(new Set(stops.map(({ id }) => id)).size).to.equal(stops.length);
      // One per keep-alive and the pass after it.
      expect(stops[2]!.at - stops[0]!.at).to.be.at.least(1500);
      expect(peer.received.slice(since).filter(({ subject }) => subject === 'hm9000.start')).to.eql([]);
    });

    it('38. end with status 197 when they lose a lock, and the other goes on', async () => {
      const logs = await Promise.all(both.map((program) => program.log()));
      const holder = both[logs.findIndex((log) => log.includes('analyzer.lock.acquire-lock-succeeded'))]!;
      const other = both.find((program) => program !== holder)!;
      const lostAt = peer.mark;
      await redis.client.del('{hm}:lock:analyzer');
      await eventually(() => (holder.isRunning ? undefined : true), {
        what: 'the end of the holder',
        timeoutMs: 19_000,
      });
      expect(holder.status).to.equal(197);
      expect(await other.log()).to.include('analyzer.lock.acquire-lock-succeeded');
      await peer.next('hm9000.stop', undefined, { since: lostAt, timeoutMs: 20_000 });
      expect(other.isRunning).to.equal(true);
    });
  });
});
