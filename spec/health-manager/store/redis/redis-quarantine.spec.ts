import { expect } from 'chai';
import { ForeignValueError, WrongTypeError } from '../../../../lib/health-manager/store/redis/errors.js';
import { RedisStore } from '../../../../lib/health-manager/store/redis/redis-store.js';
import { type LogData, silentLogger } from '../../../../lib/logging/logger.js';
import { app, desired, instance, received, start, stop } from '../../../support/health-records.js';
import { type RedisServer, startRedis } from '../../../support/redis.js';
import { storeTimes } from '../store-contract.js';

describe('the store in Redis, when a stranger has written to it', () => {
  const prefix = '{hm}:v1:';
  const appKey = `${app.app},${app.version}`;
  const g = (index: number) => instance(index, 'RUNNING', { instance: `g${index}` });
  const fresh = { isActualFresh: true, isDesiredFresh: true };
  const list = () => received('dea-a', [g(0), g(1)]);

  let redis: RedisServer;
  let store: RedisStore;
  let now: number;
  let logged: LogData[];

  before(async () => {
    redis = await startRedis();
  });

  after(() => redis.stop());

  beforeEach(async () => {
    await redis.client.flushall();
    now = 1000;
    logged = [];
    const logger = {
      ...silentLogger,
      error: (message: string, data?: LogData) => void logged.push({ message, ...data }),
    };
    store = new RedisStore({ times: storeTimes, url: redis.url, clock: () => now, logger });
    await store.start();
    await store.syncDesired([desired(2)]);
    for (let tick = 0; tick < 5; tick += 1) {
      await save();
      now += 10;
    }
    expect(await store.freshness()).to.eql(fresh);
  });

  afterEach(() => store.stop());

  async function save(): Promise<void> {
    await store.saveHeartbeats([{ ...list(), isRepeated: now > 1000 }]);
    await store.bumpActual();
  }

  async function failureOf(call: Promise<unknown>): Promise<unknown> {
    return call.then(
      () => undefined,
      (error: unknown) => error,
    );
  }

  const visitAll = () => store.forEachApp(() => {});

  async function instances(): Promise<string[]> {
    const [state] = await store.getApps([app]);
    return [...(state?.instances.keys() ?? [])].sort();
  }

  for (const value of ['', 'RUNNING', 'a,b,c', 'dea-a,first,RUNNING,1.5,app,version', 'dea-a,0,RUNNING,1.5,a,b,c']) {
    it(`puts an instance ${JSON.stringify(value)} aside, believes nothing, and has it again from its agent`, async () => {
      await redis.client.hset(`${prefix}instances`, 'g1', value);
      expect(await failureOf(visitAll())).to.be.instanceOf(ForeignValueError);
      expect(await store.freshness()).to.eql({ ...fresh, isActualFresh: false });
      expect(logged).to.eql([
        { message: 'hm9000.store.quarantined-value', key: `${prefix}instances`, field: 'g1', value },
      ]);
      expect(await redis.client.hgetall(`${prefix}quarantine`)).to.eql({ 'instances g1': value });
      await save();
      expect(await instances()).to.eql(['g0', 'g1']);
      await visitAll();
    });
  }

  it('finds it in one app, too', async () => {
    await redis.client.hset(`${prefix}instances`, 'g1', 'nonsense');
    expect(await failureOf(store.getApps([app]))).to.be.instanceOf(ForeignValueError);
    await save();
    expect(await instances()).to.eql(['g0', 'g1']);
  });

  it('stops no app for a desired state that cannot be read, until the next is fetched', async () => {
    await redis.client.hset(`${prefix}desired`, appKey, 'many,STARTED,STAGED');
    expect(await failureOf(visitAll())).to.be.instanceOf(ForeignValueError);
    expect(await store.freshness()).to.eql({ ...fresh, isDesiredFresh: false });
    await store.syncDesired([desired(2)]);
    await visitAll();
    expect((await store.getApps([app]))[0]!.desired).to.eql(desired(2));
  });

  it('drops orders that cannot be read, and keeps the others', async () => {
    const [waiting, ending] = [start(0), stop('g1')];
    await store.saveOrders({ crashCounts: [], starts: [waiting], stops: [ending] });
    const foreign = { 'start,7': '{"message_id":7}', 'stop,x': 'not JSON', 'crash,1': 'often', other: 'thing' };
    await redis.client.hset(`${prefix}orders:${appKey}`, foreign);
    for (const _entry of Object.keys(foreign)) {
      expect(await failureOf(store.pendingStarts())).to.be.instanceOf(ForeignValueError);
    }
    expect([await store.pendingStarts(), await store.pendingStops()]).to.eql([[waiting], [ending]]);
    expect(await store.freshness()).to.eql(fresh);
    expect(await redis.client.hlen(`${prefix}quarantine`)).to.equal(4);
  });

  it('takes marks that cannot be read for none', async () => {
    await redis.client.mset(`${prefix}actual-fresh`, '{"timestamp":1}', `${prefix}desired-fresh`, 'yes');
    expect(await store.freshness()).to.eql({ isActualFresh: false, isDesiredFresh: false });
    await store.bumpActual();
    expect((await store.freshness()).isActualFresh).to.equal(false);
  });

  const spoiled: Record<string, () => Promise<unknown>> = {
    deas: () => save(),
    instances: visitAll,
    desired: visitAll,
    'with-orders': visitAll,
    'dea:dea-a': () => save(),
    [`app:${appKey}`]: () => store.getApps([app]),
    [`orders:${appKey}`]: () => store.getApps([app]),
    'actual-fresh': () => store.bumpActual(),
    'desired-fresh': () => store.freshness(),
    holds: () => store.heldApps(),
    metrics: () => store.saveMetrics({ StartMissing: 1 }),
  };
  for (const [name, use] of Object.entries(spoiled)) {
    it(`puts ${name.split(':')[0]} aside when it has a wrong type, believes nothing, and fills it anew`, async () => {
      await redis.client.del(prefix + name);
      await redis.client.rpush(prefix + name, 'a list');
      expect(await failureOf(use())).to.be.instanceOf(WrongTypeError);
      expect(await store.freshness()).to.eql({ isActualFresh: false, isDesiredFresh: false });
      expect(await redis.client.lrange(`${prefix}quarantined:${name}`, 0, -1)).to.eql(['a list']);
      expect(logged).to.deep.include({
        message: 'hm9000.store.quarantined-key',
        key: prefix + name,
        type: 'list',
      });
      await store.syncDesired([desired(2)]);
      await save();
      await use();
      expect(await instances()).to.eql(['g0', 'g1']);
    });
  }

  it('leaves keys alone that are not its own', async () => {
    await redis.client.rpush(`${prefix}stranger`, 'x');
    await redis.client.rpush('elsewhere', 'x');
    await redis.client.del(`${prefix}metrics`);
    await redis.client.rpush(`${prefix}metrics`, 'x');
    expect(await failureOf(store.metrics())).to.be.instanceOf(WrongTypeError);
    expect(await redis.client.exists(`${prefix}stranger`, 'elsewhere')).to.equal(2);
  });
});
