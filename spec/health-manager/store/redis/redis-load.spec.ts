import { monitorEventLoopDelay } from 'node:perf_hooks';
import { expect } from 'chai';
import type { InstanceHeartbeat } from '../../../../lib/health-manager/records.js';
import type { ReceivedHeartbeat } from '../../../../lib/health-manager/store/health-store.js';
import { RedisStore } from '../../../../lib/health-manager/store/redis/redis-store.js';
import { silentLogger } from '../../../../lib/logging/logger.js';
import { start } from '../../../support/health-records.js';
import { type RedisServer, startRedis } from '../../../support/redis.js';
import { storeTimes } from '../store-contract.js';

/** Figures are printed; what is asserted leaves room for a slow machine (docs/protocol/health-manager.md §3.4, §13.40). */
describe('the store in Redis, with a whole platform in it', function () {
  this.timeout(180_000);

  let redis: RedisServer;
  let store: RedisStore;

  beforeEach(async () => {
    redis = await startRedis();
    // A stamp long before the first heartbeat ends: the load of this machine must not let agents fall silent.
    store = new RedisStore({ times: storeTimes, url: redis.url, clock: () => 1000, logger: silentLogger });
    await store.start();
  });

  afterEach(async () => {
    await store.stop();
    await redis.stop();
  });

  /** As long as real ones. */
  const guid = (kind: string, number: number) =>
    `${kind}${String(number).padStart(7, '0')}-7f3e-4b57-9a55-0d4f3d1b7c11`;

  /** Heartbeats of so many agents; every app has two instances, on two of them. */
  function platform(deas: number, perDea: number): ReceivedHeartbeat[] {
    return Array.from({ length: deas }, (_, number) => {
      const dea = `${number % 10}-${guid('d', number)}`;
      const instances = Array.from({ length: perDea }, (_unused, place): InstanceHeartbeat => {
        const sequence = place * deas + number;
        const app = Math.floor(sequence / 2);
        return {
          instance: guid('i', sequence),
          app: guid('a', app),
          version: guid('v', app),
          index: sequence % 2,
          state: 'RUNNING',
          stateTimestamp: 1435672356.5,
          dea,
        };
      });
      return { dea, isRepeated: false, read: () => ({ dea, instances, illegible: [] }) };
    });
  }

  const repeated = (heartbeats: ReceivedHeartbeat[]) =>
    heartbeats.map((received) => ({ ...received, isRepeated: true }));

  async function usedMegabytes(): Promise<number> {
    const [, bytes] = /used_memory:(\d+)/.exec(await redis.client.info('memory'))!;
    return Number(bytes) / 1024 / 1024;
  }

  async function commandCalls(): Promise<number> {
    const stats = await redis.client.info('commandstats');
    return [...stats.matchAll(/cmdstat_(?:evalsha|eval|hget|hset|zadd):calls=(\d+)/g)].reduce(
      (sum, [, n]) => sum + Number(n),
      0,
    );
  }

  async function timed(call: () => Promise<unknown>): Promise<number> {
    const begun = performance.now();
    await call();
    return Math.round(performance.now() - begun);
  }

  it('40. keeps 100,000 instances on 1,000 agents in less than 64 MB, and an outage of all in less than 128', async () => {
    const empty = await usedMegabytes();
    const heartbeats = platform(1000, 100);
    const apps = Array.from({ length: 50_000 }, (_, number) => ({
      app: guid('a', number),
      version: guid('v', number),
      instances: 2,
      packageState: 'STAGED' as const,
    }));
    const saving = await timed(() => store.saveHeartbeats(heartbeats));
    const actual = (await usedMegabytes()) - empty;
    const syncing = await timed(() => store.syncDesired(apps));
    const normal = (await usedMegabytes()) - empty;
    const starts = apps.flatMap(({ app, version }) =>
      [0, 1].map((index) => start(index, { app, version, messageId: guid('m', index) })),
    );
    const ordering = await timed(() => store.saveOrders({ crashCounts: [], starts, stops: [] }));
    const worst = (await usedMegabytes()) - empty;
    const largest = Number(await redis.client.call('MEMORY', 'USAGE', '{hm}:v1:instances', 'SAMPLES', '1000'));
    console.log(
      `      actual ${actual.toFixed(1)} MB (instances ${(largest / 1024 / 1024).toFixed(1)}), with desired ` +
        `${normal.toFixed(1)} MB, with 100,000 starts ${worst.toFixed(1)} MB; ` +
        `saved in ${saving} ms, synced in ${syncing} ms, ordered in ${ordering} ms`,
    );
    expect(normal).to.be.lessThan(64);
    expect(worst).to.be.lessThan(128);
    expect(await store.pendingStarts()).to.have.lengthOf(100_000);
  });

  it('renews 100 heartbeats of 250 unchanged instances in one round trip', async () => {
    const heartbeats = platform(100, 250);
    await store.saveHeartbeats(heartbeats);
    // Redis gets to know the script.
    await store.saveHeartbeats(repeated(heartbeats.slice(0, 1)));
    const before = await commandCalls();
    const renewing = await timed(() => store.saveHeartbeats(repeated(heartbeats)));
    const calls = (await commandCalls()) - before;
    console.log(`      renewed in ${renewing} ms with ${calls} commands, those in scripts included`);
    // Two scripts sent together; in them a look at the list's name and a new end for each agent.
    expect(calls).to.equal(2 + 100 + 100);
  });

  it('reads a list of 250 again in which one instance changed, and writes only that', async () => {
    const [heartbeat] = platform(1, 250);
    await store.saveHeartbeats([heartbeat!]);
    const { instances, ...rest } = heartbeat!.read();
    const changed = instances.map((entry, place) => (place === 0 ? { ...entry, state: 'CRASHED' } : entry));
    await store.saveHeartbeats([{ ...heartbeat!, read: () => ({ ...rest, instances: changed }) }]);
    const [state] = await store.getApps([instances[0]!]);
    expect([...state!.instances.values()][0]!.state).to.equal('CRASHED');
    expect(await redis.client.hlen('{hm}:v1:instances')).to.equal(250);
  });

  it('shows 250,000 instances without standing still', async () => {
    await store.saveHeartbeats(platform(1000, 250));
    const heap = process.memoryUsage().heapUsed;
    let highest = 0;
    let seen = 0;
    const delays = monitorEventLoopDelay({ resolution: 5 });
    delays.enable();
    const reading = await timed(() =>
      store.forEachApp(({ instances }) => {
        seen += instances.size;
        if (seen % 10_000 < 2) highest = Math.max(highest, process.memoryUsage().heapUsed);
      }),
    );
    delays.disable();
    const longest = Math.round(delays.max / 1e6);
    const megabytes = Math.round((highest - heap) / 1024 / 1024);
    console.log(`      read in ${reading} ms, longest standstill ${longest} ms, heap grew by ${megabytes} MB at most`);
    expect(seen).to.equal(250_000);
    expect(longest).to.be.lessThan(1500);
  });
});
