import { expect } from 'chai';
import type { RawEntry } from '../../../../lib/health-manager/store/health-store.js';
import { RedisStore } from '../../../../lib/health-manager/store/redis/redis-store.js';
import { silentLogger } from '../../../../lib/logging/logger.js';
import { app, desired, instance, received, start, stop } from '../../../support/health-records.js';
import { type RedisServer, startRedis } from '../../../support/redis.js';
import { storeTimes } from '../store-contract.js';

describe('the store in Redis, when it is tidied up', () => {
  const appKey = `${app.app},${app.version}`;

  let redis: RedisServer;
  let store: RedisStore;
  let now: number;

  before(async () => {
    redis = await startRedis();
  });

  after(() => redis.stop());

  async function open(prefix: string): Promise<void> {
    store = new RedisStore({ times: storeTimes, url: redis.url, clock: () => now, prefix, logger: silentLogger });
    await store.start();
  }

  beforeEach(async () => {
    await redis.client.flushall();
    now = 1000;
    await open('{hm}:v17:');
  });

  afterEach(() => store.stop());

  const keys = async () => (await redis.client.keys('*')).sort();

  it('39. removes older layouts and what is none, and keeps newer ones, locks and what is not its own', async () => {
    const gone = ['{hm}:v3:deas', '{hm}:v16:desired', '{hm}:v1ola:x', '{hm}:unversioned'];
    const kept = ['{hm}:v17:metrics', '{hm}:v18:x', '{hm}:lock:listener', '{hmx}:v1:a', 'hm', 'other:v1:x'];
    for (const key of [...gone, ...kept.filter((name) => !name.endsWith('metrics'))]) await redis.client.set(key, 'x');
    await store.saveMetrics({ StartMissing: 1 });
    await store.compact();
    expect(await keys()).to.eql(kept.sort());
  });

  it('removes nothing beside it when its prefix names no version', async () => {
    await store.stop();
    await open('health:');
    await redis.client.mset('health:stranger', 'x', 'other', 'x');
    await store.compact();
    expect(await keys()).to.eql(['health:stranger', 'other']);
  });

  it('takes a prefix for what it is, not for a pattern', async () => {
    await store.stop();
    await open('h[a]*?:v2:');
    await redis.client.mset('h[a]*?:v1:x', 'x', 'haaa:v1:x', 'x');
    await store.compact();
    expect(await keys()).to.eql(['haaa:v1:x']);
  });

  it('leaves nothing of agents that are gone, nor of their apps', async () => {
    const lists = Array.from({ length: 150 }, (_, dea) =>
      received(`dea-${dea}`, [instance(dea, 'RUNNING', { instance: `g${dea}` })]),
    );
    await store.saveHeartbeats(lists);
    now += 31;
    await store.compact();
    expect(await keys()).to.eql([]);
  });

  it('removes instances and entries of apps whose agent has left no trace', async () => {
    await store.saveHeartbeats([received('dea-a', [instance(0, 'RUNNING', { instance: 'g0' })])]);
    await redis.client.hset('{hm}:v17:instances', 'orphan', 'dea-x,0,RUNNING,1.5,app,version');
    await redis.client.hset('{hm}:v17:app:app,version', 'orphan', '', 'never-there', '');
    await redis.client.hset(`{hm}:v17:app:${appKey}`, 'never-there', '');
    await store.compact();
    expect(await redis.client.hkeys('{hm}:v17:instances')).to.eql(['g0']);
    expect(await redis.client.hkeys(`{hm}:v17:app:${appKey}`)).to.eql(['g0']);
    expect(await redis.client.exists('{hm}:v17:app:app,version')).to.equal(0);
  });

  it('removes crash counts that are over and orders that were sent long ago, and no others', async () => {
    const waiting = start(0);
    await store.saveOrders({
      crashCounts: [{ ...app, index: 1, crashCount: 1, createdAt: 1000 }],
      starts: [waiting, start(1, { sentOn: 1000 })],
      stops: [stop('g', { app: 'other', sentOn: 1000 })],
    });
    now += 1000;
    const recent = start(2, { sentOn: now });
    await store.saveOrders({
      crashCounts: [{ ...app, index: 2, crashCount: 1, createdAt: now }],
      starts: [recent],
      stops: [],
    });
    now = 1000 + 30 + 3600;
    await store.compact();
    expect(await redis.client.hkeys(`{hm}:v17:orders:${appKey}`)).to.have.members(['start,0', 'start,2']);
    expect(await redis.client.smembers('{hm}:v17:with-orders')).to.eql([appKey]);
    expect(await store.pendingStarts()).to.have.deep.members([waiting, recent]);
  });

  it('shows everything that is there, with the time that it has left', async () => {
    await store.saveHeartbeats([received('dea-a', [instance(3, 'RUNNING', { instance: 'g' })])]);
    await store.syncDesired([desired(2)]);
    await store.saveOrders({ crashCounts: [], starts: [start(1)], stops: [] });
    await store.bumpActual();
    await store.saveMetrics({ StartMissing: 2 });
    await redis.client.set('{hm}:lock:listener', 'token', 'PX', 15_000);
    now += 10;
    const entries = new Map<string, RawEntry>();
    for await (const entry of store.rawEntries()) entries.set(entry.key, entry);
    const ttlOf = (key: string) => entries.get(key)?.ttl;
    expect(ttlOf('{hm}:v17:deas/dea-a')).to.equal(20);
    expect(ttlOf('{hm}:v17:actual-fresh')).to.equal(20);
    expect(ttlOf('{hm}:v17:desired-fresh')).to.equal(110);
    expect(ttlOf('{hm}:lock:listener')).to.be.within(1, 15);
    expect(entries.get('{hm}:v17:instances/g')).to.eql({
      key: '{hm}:v17:instances/g',
      ttl: undefined,
      value: `dea-a,3,RUNNING,1000.5,${appKey}`,
    });
    expect(entries.get(`{hm}:v17:desired/${appKey}`)!.value).to.equal('2,STARTED,STAGED');
    expect(JSON.parse(entries.get(`{hm}:v17:orders:${appKey}/start,1`)!.value)).to.include({
      droplet: app.app,
      index: 1,
    });
    expect(entries.get('{hm}:v17:metrics/StartMissing')!.value).to.equal('2');
  });
});
