import { expect } from 'chai';
import { LockCollision, type LockStore } from '../../lib/locks/lock-store.js';
import { RedisLockStore, type RedisLockStoreOptions } from '../../lib/locks/redis/redis-store.js';
import { eventually } from '../support/eventually.js';
import { type RedisServer, startRedis } from '../support/redis.js';
import { rejectionOf } from '../support/rejection.js';
import { behavesAsLockStore, lock } from './store-contract.js';

describe('RedisLockStore', () => {
  let redis: RedisServer;
  const running: LockStore[] = [];

  async function start(options: Partial<RedisLockStoreOptions> = {}): Promise<RedisLockStore> {
    const store = new RedisLockStore({ server: redis.url, quarantineMs: 0, sweepIntervalMs: 50, ...options });
    running.push(store);
    await store.start();
    return store;
  }

  before(async () => {
    redis = await startRedis({ settings: { appendonly: 'yes', appendfsync: 'always' } });
  });

  afterEach(async () => {
    await Promise.all(running.splice(0).map((store) => store.stop()));
    await redis.client.flushall();
  });

  after(() => redis.stop());

  describe('as every store', () => behavesAsLockStore({ store: () => start(), beside: () => start() }));

  it('refuses a Redis that drops keys when its memory is full', async () => {
    await redis.client.config('SET', 'maxmemory-policy', 'allkeys-lru');
    try {
      const error = await rejectionOf(start());
      expect(error.message).to.include('maxmemory-policy is allkeys-lru');
    } finally {
      await redis.client.config('SET', 'maxmemory-policy', 'noeviction');
    }
  });

  it('gives nobody a key anew for some time on a Redis that it does not know', async () => {
    const store = await start({ quarantineMs: 700 });
    const asked = performance.now();
    expect(await rejectionOf(store.acquire(lock('a', 'one'), 60_000))).to.be.instanceOf(LockCollision);
    await eventually(() => store.acquire(lock('a', 'one'), 60_000));
    expect(performance.now() - asked).to.be.greaterThan(600);
  });

  it('enters no quarantine on a Redis that another has looked at', async () => {
    await start({ quarantineMs: 0 });
    const store = await start({ quarantineMs: 60_000 });
    await store.acquire(lock('a', 'one'), 60_000);
  });

  it('lets holders renew over a restart of a Redis that remembers them, and newcomers wait', async () => {
    const store = await start({ quarantineMs: 60_000 });
    await redis.client.del('{lk}:quarantine');
    const { token } = await store.acquire(lock('a', 'one'), 60_000);
    await redis.kill();
    expect((await rejectionOf(store.acquire(lock('a', 'one'), 60_000))).name).to.equal('LocksUnavailable');
    await redis.restart();
    const grant = await eventually(() => store.acquire(lock('a', 'one'), 60_000));
    expect(grant.token).to.equal(token);
    expect(await rejectionOf(store.acquire(lock('b', 'one'), 60_000))).to.be.instanceOf(LockCollision);
  });

  it('enters a quarantine when Redis has forgotten everything, and tokens still grow', async () => {
    const store = await start({ quarantineMs: 500 });
    const { token } = await eventually(() => store.acquire(lock('a', 'one'), 60_000));
    await redis.client.flushall();
    expect(await rejectionOf(store.acquire(lock('a', 'two'), 60_000))).to.be.instanceOf(LockCollision);
    const next = await eventually(() => store.acquire(lock('a', 'two'), 60_000));
    expect(next.token).to.be.greaterThan(token);
  });

  it('grants nothing that no replica confirms', async () => {
    const store = await start({ confirmingReplicas: 1 });
    const error = await rejectionOf(store.acquire(lock('a', 'one'), 60_000));
    expect(error.message).to.equal('0 of 1 replicas of Redis confirmed the grant');
    expect(await store.fetch('a')).to.equal(undefined);
  });

  it('refuses a replica', async () => {
    const replica = await startRedis({ settings: { replicaof: `127.0.0.1 ${redis.port}` } });
    try {
      const error = await rejectionOf(start({ server: replica.url }));
      expect(error.message).to.include('it is a slave');
    } finally {
      await replica.stop();
    }
  });
});
