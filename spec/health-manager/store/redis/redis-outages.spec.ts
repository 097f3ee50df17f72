import { expect } from 'chai';
import { Listener } from '../../../../lib/health-manager/heartbeats/listener.js';
import { StoreUnavailableError } from '../../../../lib/health-manager/store/redis/errors.js';
import { RedisStore } from '../../../../lib/health-manager/store/redis/redis-store.js';
import { silentLogger } from '../../../../lib/logging/logger.js';
import { Metrics } from '../../../../lib/metrics/metrics.js';
import { eventually } from '../../../support/eventually.js';
import { app, desired, instance, received, start } from '../../../support/health-records.js';
import { type RedisServer, type RedisServerOptions, startRedis } from '../../../support/redis.js';
import { storeTimes } from '../store-contract.js';

describe('the store in Redis, when Redis fails', function () {
  this.timeout(60_000);

  let redis: RedisServer;
  let store: RedisStore;
  let now: number;

  async function open(options: RedisServerOptions = {}, timeoutMs = 5000): Promise<void> {
    redis = await startRedis(options);
    now = 1000;
    store = new RedisStore({ times: storeTimes, url: redis.url, clock: () => now, timeoutMs, logger: silentLogger });
    await store.start();
  }

  afterEach(async () => {
    await store.stop();
    await redis.stop();
  });

  const g = (index: number, state = 'RUNNING') => instance(index, state, { instance: `g${index}` });
  const repeated = (dea: string, entries: ReturnType<typeof instance>[]) => ({
    ...received(dea, entries),
    isRepeated: true,
  });

  async function failureOf(call: Promise<unknown>): Promise<unknown> {
    return call.then(
      () => undefined,
      (error: unknown) => error,
    );
  }

  const isBack = () =>
    eventually(() => store.metrics().catch(() => undefined), { what: 'the store', timeoutMs: 20_000 });

  async function instances(): Promise<string[]> {
    const [state] = await store.getApps([app]);
    return [...(state?.instances.keys() ?? [])].sort();
  }

  async function becomeFresh(): Promise<void> {
    await store.syncDesired([desired(1)]);
    for (let tick = 0; tick < 4; tick += 1) {
      await store.bumpActual();
      now += 10;
    }
    await store.bumpActual();
    expect(await store.freshness()).to.eql({ isActualFresh: true, isDesiredFresh: true });
  }

  it('does not start without it, and says where it looked, not with which password', async () => {
    await open();
    await redis.kill();
    const url = `redis://:secret@127.0.0.1:${redis.port}`;
    const other = new RedisStore({ times: storeTimes, url, logger: silentLogger });
    const failure = (await failureOf(other.start())) as Error;
    expect(failure).to.be.instanceOf(StoreUnavailableError);
    expect(failure.message).to.include(`127.0.0.1:${redis.port}`).and.not.include('secret');
  });

  it('rejects at once while it is away, and goes on by itself when it is back', async () => {
    await open();
    await redis.kill();
    for (const call of [
      () => store.saveHeartbeats([received('dea-a', [g(0)])]),
      () => store.revokeActual(),
      () => store.bumpActual(),
      () => store.syncDesired([desired(1)]),
      () => store.freshness(),
      () => store.getApps([app]),
      () => store.forEachApp(() => {}),
      () => store.saveOrders({ crashCounts: [], starts: [start(0)], stops: [] }),
      () => store.pendingStarts(),
      () => store.metrics(),
      () => store.compact(),
    ]) {
      expect(await failureOf(call())).to.be.instanceOf(StoreUnavailableError);
    }
    await redis.restart();
    await isBack();
    await store.saveHeartbeats([received('dea-a', [g(0)])]);
    expect(await instances()).to.eql(['g0']);
  });

  it('44. reads everything again when it comes back empty, and is not fresh', async () => {
    await open();
    await store.saveHeartbeats([received('dea-a', [g(0)]), received('dea-b', [g(1)])]);
    await becomeFresh();
    await redis.kill();
    await redis.restart();
    await isBack();
    await store.saveHeartbeats([repeated('dea-a', [g(0)]), repeated('dea-b', [g(1)])]);
    await store.bumpActual();
    expect(await instances()).to.eql(['g0', 'g1']);
    expect(await store.freshness()).to.eql({ isActualFresh: false, isDesiredFresh: false });
  });

  it('44. notices that it was emptied under a connection that stays', async () => {
    await open();
    await store.saveHeartbeats([received('dea-a', [g(0)])]);
    await becomeFresh();
    await redis.client.flushall();
    await redis.client.script('FLUSH');
    await store.saveHeartbeats([repeated('dea-a', [g(0)])]);
    expect(await instances()).to.eql(['g0']);
    expect((await store.freshness()).isActualFresh).to.equal(false);
  });

  it('4. begins to be fresh anew after a gap that it could not be told of', async () => {
    // It keeps what it knows: the mark is there still when it comes back.
    await open({ settings: { appendonly: 'yes' } });
    await becomeFresh();
    await redis.kill();
    expect(await failureOf(store.revokeActual())).to.be.instanceOf(StoreUnavailableError);
    await redis.restart();
    await isBack();
    await store.bumpActual();
    expect((await store.freshness()).isActualFresh).to.equal(false);
  });

  it('loses nothing that it was told when it is killed in the middle of a batch, and has no list by half', async () => {
    await open({ settings: { appendonly: 'yes' } });
    const lists = Array.from({ length: 600 }, (_, dea) =>
      received(
        `dea-${dea}`,
        Array.from({ length: 50 }, (_unused, index) => instance(index, 'RUNNING', { instance: `i${dea}-${index}` })),
      ),
    );
    const saving = failureOf(store.saveHeartbeats(lists));
    await eventually(async () => (await redis.client.zcard('{hm}:v1:deas')) > 60 || undefined);
    await redis.kill();
    expect(await saving).to.be.instanceOf(StoreUnavailableError);
    await redis.restart();
    await isBack();
    const saved = new Map<string, number>();
    await store.forEachApp((state) => {
      for (const { dea } of state.instances.values()) saved.set(dea, (saved.get(dea) ?? 0) + 1);
    });
    expect(saved.size).to.be.within(60, 599);
    expect([...new Set(saved.values())]).to.eql([50]);
    await store.saveHeartbeats(lists);
    expect(await redis.client.hlen('{hm}:v1:instances')).to.equal(30_000);
  });

  it('publishes no desired state of which a part was lost', async () => {
    await open();
    await becomeFresh();
    const many = Array.from({ length: 100_000 }, (_, index) => ({ ...desired(1), app: `app-${index}` }));
    const saving = failureOf(store.syncDesired(many));
    await eventually(async () => (await redis.client.keys('{hm}:v1:desired.new:*')).length > 0 || undefined);
    const [draft] = await redis.client.keys('{hm}:v1:desired.new:*');
    await redis.client.del(draft!);
    expect(await saving).to.be.instanceOf(StoreUnavailableError);
    const [before] = await store.getApps([app]);
    expect(before!.desired).to.eql(desired(1));
  });

  it('gives up a hanging one within the limit, and catches up when it goes on', async () => {
    await open({}, 700);
    await store.saveHeartbeats([received('dea-a', [g(0)])]);
    redis.pause();
    const begun = performance.now();
    expect(await failureOf(store.saveHeartbeats([repeated('dea-a', [g(0)])]))).to.be.instanceOf(StoreUnavailableError);
    expect(performance.now() - begun).to.be.lessThan(5000);
    expect(await failureOf(store.revokeActual())).to.be.instanceOf(StoreUnavailableError);
    redis.resume();
    await isBack();
    await store.saveHeartbeats([received('dea-a', [g(0), g(1)])]);
    expect(await instances()).to.eql(['g0', 'g1']);
  });

  it('finds the server that may be written to after a failover', async () => {
    await open();
    await store.saveHeartbeats([received('dea-a', [g(0)])]);
    const master = await startRedis();
    try {
      await redis.client.replicaof('127.0.0.1', master.port);
      expect(await failureOf(store.saveHeartbeats([received('dea-a', [g(1)])]))).to.be.instanceOf(
        StoreUnavailableError,
      );
      await redis.client.replicaof('NO', 'ONE');
      await isBack();
      await store.saveHeartbeats([received('dea-a', [g(1)])]);
      expect(await instances()).to.eql(['g1']);
    } finally {
      await master.stop();
    }
  });

  it('rejects while it loads its data, and serves them then', async () => {
    await open({ settings: { appendonly: 'yes' } });
    await store.saveHeartbeats([received('dea-a', [g(0)])]);
    await redis.kill();
    // Loads a key per 100 ms.
    const launched = redis.restart({ 'key-load-delay': '100000' });
    const failure = await failureOf(store.saveHeartbeats([received('dea-a', [g(0)])]));
    expect(failure).to.be.instanceOf(StoreUnavailableError);
    await launched;
    await isBack();
    expect(await instances()).to.eql(['g0']);
  });

  it('refuses writes when its memory is full, without losing what it has', async () => {
    await open();
    await store.saveHeartbeats([received('dea-a', [g(0)])]);
    await redis.client.config('SET', 'maxmemory', '1');
    expect(await failureOf(store.saveHeartbeats([received('dea-a', [g(0), g(1)])]))).to.be.instanceOf(
      StoreUnavailableError,
    );
    await redis.client.config('SET', 'maxmemory', '0');
    expect(await instances()).to.eql(['g0']);
  });

  it('makes a listener that could not save say that nothing is known, and all is well afterwards', async () => {
    await open();
    const listener = new Listener({
      store,
      evacuationStarts: { order: async () => {} } as never,
      metrics: new Metrics(),
      flushIntervalMs: 1000,
      slowSaveMs: 10_000,
      logger: silentLogger,
    });
    const beat = async () => {
      const entry = { droplet: app.app, version: app.version, instance: 'g0', index: 0, state: 'RUNNING' };
      listener.receive(Buffer.from(JSON.stringify({ dea: 'dea-a', droplets: [entry] })));
      await listener.flush();
    };
    const isFresh = async () => (await store.freshness()).isActualFresh;
    for (let tick = 0; tick < 4; tick += 1) {
      await beat();
      now += 10;
    }
    expect(await isFresh()).to.equal(true);
    await redis.kill();
    await beat();
    await redis.restart();
    await isBack();
    const seen: boolean[] = [];
    for (let tick = 0; tick < 5; tick += 1) {
      await beat();
      seen.push(await isFresh());
      now += 10;
    }
    expect(seen).to.eql([false, false, false, true, true]);
    expect(await instances()).to.eql(['g0']);
  });
});
