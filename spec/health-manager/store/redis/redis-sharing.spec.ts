import { expect } from 'chai';
import { RedisStore, type RedisStoreOptions } from '../../../../lib/health-manager/store/redis/redis-store.js';
import { silentLogger } from '../../../../lib/logging/logger.js';
import { eventually } from '../../../support/eventually.js';
import { app, desired, instance, received, start } from '../../../support/health-records.js';
import { type RedisServer, startRedis } from '../../../support/redis.js';
import { storeTimes } from '../store-contract.js';

describe('the store in Redis, shared by several health managers', () => {
  let redis: RedisServer;
  let stores: RedisStore[];

  beforeEach(async () => {
    redis = await startRedis();
    stores = [];
  });

  afterEach(async () => {
    for (const store of stores) await store.stop();
    await redis.stop();
  });

  async function open(options: Partial<RedisStoreOptions> = {}): Promise<RedisStore> {
    const store = new RedisStore({ times: storeTimes, url: redis.url, logger: silentLogger, ...options });
    stores.push(store);
    await store.start();
    return store;
  }

  const g = (index: number) => instance(index, 'RUNNING', { instance: `g${index}` });
  const repeated = (...entries: ReturnType<typeof instance>[]) => ({ ...received('dea-a', entries), isRepeated: true });

  async function instances(store: RedisStore): Promise<string[]> {
    const [state] = await store.getApps([app]);
    return [...(state?.instances.keys() ?? [])].sort();
  }

  it('goes by the clock of Redis', async () => {
    const store = await open();
    const [seconds] = await redis.client.time();
    expect((await store.now()) - Number(seconds)).to.be.within(0, 5);
  });

  it('lets go by that clock what is not renewed, and keeps what is', async () => {
    const times = { heartbeatTtl: 3, actualFreshnessTtl: 2, desiredFreshnessTtl: 2, crashCountTtl: 2 };
    const store = await open({ times });
    await store.syncDesired([desired(1)]);
    await store.saveHeartbeats([received('dea-a', [g(0)]), received('dea-b', [g(1)])]);
    await store.saveOrders({ crashCounts: [{ ...app, index: 0, crashCount: 1, createdAt: 1 }], starts: [], stops: [] });
    expect(await store.freshness()).to.eql({ isActualFresh: false, isDesiredFresh: true });
    await eventually(async () => {
      await store.saveHeartbeats([repeated(g(0))]);
      await store.bumpActual();
      return (await instances(store)).join() === 'g0' || undefined;
    });
    expect(await store.freshness()).to.eql({ isActualFresh: true, isDesiredFresh: false });
    expect((await store.getApps([app]))[0]!.crashCounts.size).to.equal(0);
    await eventually(async () => !(await store.freshness()).isActualFresh || undefined);
  });

  it('shows to each what another saved', async () => {
    const [listener, analyzer] = [await open(), await open()];
    await listener.saveHeartbeats([received('dea-a', [g(0)])]);
    await analyzer.saveOrders({ crashCounts: [], starts: [start(1)], stops: [] });
    expect(await instances(analyzer)).to.eql(['g0']);
    expect(await listener.pendingStarts()).to.have.lengthOf(1);
  });

  it('reads a repeated heartbeat again when another listener saved another list meanwhile', async () => {
    const [first, second] = [await open(), await open()];
    await first.saveHeartbeats([received('dea-a', [g(0)])]);
    await second.saveHeartbeats([received('dea-a', [g(0), g(1)])]);
    await first.saveHeartbeats([repeated(g(0))]);
    expect(await instances(second)).to.eql(['g0']);
  });

  it('keeps an order that one has replaced while another sent it', async () => {
    const [sender, evacuator] = [await open(), await open()];
    const [before, after] = [start(0), start(0)];
    await sender.saveOrders({ crashCounts: [], starts: [before], stops: [] });
    await evacuator.saveOrders({ crashCounts: [], starts: [after], stops: [] });
    const sent = [{ ...before, sentOn: 7 }];
    await sender.commitSendResult({ sentStarts: sent, sentStops: [], deletedStarts: [], deletedStops: [] });
    expect(await evacuator.pendingStarts()).to.eql([after]);
  });

  it('gives an instance whose agent and version changed at a time to the new ones alone', async () => {
    const store = await open();
    await store.saveHeartbeats([received('dea-a', [g(0)])]);
    await store.saveHeartbeats([received('dea-b', [{ ...g(0), version: 'next' }])]);
    const [before, after] = await store.getApps([app, { ...app, version: 'next' }]);
    expect(before).to.equal(undefined);
    expect([...after!.instances.keys()]).to.eql(['g0']);
  });

  it('shows the desired state of before or of after, whole, while it is replaced', async () => {
    const [fetcher, analyzer] = [await open(), await open()];
    const generations = [3, 5].map((count) =>
      Array.from({ length: 6000 }, (_, index) => ({ ...desired(count), app: `app-${index}` })),
    );
    await fetcher.syncDesired(generations[0]!);
    let isReading = true;
    const replacing = (async () => {
      for (let round = 0; isReading; round += 1) await fetcher.syncDesired(generations[(round + 1) % 2]!);
    })();
    for (let round = 0; round < 5; round += 1) {
      const counts = new Map<number, number>();
      await analyzer
        .forEachApp(({ desired: wanted }) => counts.set(wanted!.instances, (counts.get(wanted!.instances) ?? 0) + 1))
        .catch(() => counts.set(3, 6000));
      expect([...counts.values()]).to.eql([6000]);
    }
    isReading = false;
    await replacing;
  });

  it('keeps apart what has different prefixes', async () => {
    const [one, other] = [await open(), await open({ prefix: '{staging}:v1:' })];
    await one.saveHeartbeats([received('dea-a', [g(0)])]);
    await other.compact();
    expect(await instances(one)).to.eql(['g0']);
    expect(await instances(other)).to.eql([]);
  });
});
