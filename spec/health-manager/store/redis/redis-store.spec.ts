import { RedisStore } from '../../../../lib/health-manager/store/redis/redis-store.js';
import { silentLogger } from '../../../../lib/logging/logger.js';
import { type RedisServer, startRedis } from '../../../support/redis.js';
import { itKeepsTheState, type StoreSubject, storeTimes } from '../store-contract.js';

describe('the store that health managers share in Redis', () => {
  let redis: RedisServer;

  before(async () => {
    redis = await startRedis();
  });

  after(() => redis.stop());

  itKeepsTheState(async (): Promise<StoreSubject> => {
    await redis.client.flushall();
    let now = 1000;
    const open = async () => {
      const store = new RedisStore({ times: storeTimes, url: redis.url, clock: () => now, logger: silentLogger });
      await store.start();
      return store;
    };
    let current = await open();
    return {
      store: current,
      async advance(seconds) {
        now += seconds;
      },
      async reopen() {
        await current.stop();
        current = await open();
        return current;
      },
      dispose: () => current.stop(),
    };
  });
});
