import { expect } from 'chai';
import { RedisStore } from '../../lib/health-manager/store/redis/redis-store.js';
import { silentLogger } from '../../lib/logging/logger.js';
import { eventually } from '../support/eventually.js';
import { HealthWorld } from '../support/health-world.js';
import { type RedisServer, startRedis } from '../support/redis.js';
import { itManagesHealth } from './rules.js';
import { type StoreSubject, storeTimes } from './store/store-contract.js';

describe('a health manager that shares its store in Redis', () => {
  let redis: RedisServer;

  before(async () => {
    redis = await startRedis();
  });

  after(() => redis.stop());

  itManagesHealth(async () => {
    await redis.client.flushall();
    return openSubject();
  });

  async function openSubject(): Promise<StoreSubject> {
    let now = 1_435_672_000;
    const store = new RedisStore({ times: storeTimes, url: redis.url, clock: () => now, logger: silentLogger });
    await store.start();
    return {
      store,
      advance: async (seconds) => {
        now += seconds;
      },
      reopen: async () => store,
      dispose: () => store.stop(),
    };
  }

  describe('and has two apps to look after', () => {
    let subject: StoreSubject;
    let world: HealthWorld;

    beforeEach(async () => {
      await redis.client.flushall();
      subject = await openSubject();
      world = new HealthWorld({ store: subject.store, advance: (seconds) => subject.advance(seconds) });
      for (const app of ['a', 'b']) {
        world.desire(app, 2);
        world.report(`dea-${app}`, { app, instance: `${app}-0`, index: 0 }, { app, instance: `${app}-1`, index: 1 });
      }
      await world.becomeFresh();
    });

    afterEach(() => subject.dispose());

    const isFresh = async () => (await subject.store.freshness()).isActualFresh;

    describe('when the clock of Redis is set back by an hour', () => {
      it('orders nothing at first, and is then as sure as ever, also of an agent that fell silent', async () => {
        await subject.advance(-3600);
        world.agents.delete('dea-b');
        await world.tick(2);
        expect([await isFresh(), world.started, world.stopped]).to.eql([false, [], []]);
        await world.tick(7);
        expect([await isFresh(), world.started, world.stopped]).to.eql([true, ['b 0', 'b 1'], []]);
      });

      it('lets no order of before keep others away', async () => {
        world.report('dea-b', { app: 'b', instance: 'b-0', index: 0 });
        world.report('dea-a', ...world.agents.get('dea-a')!, { app: 'unwanted', instance: 'u' });
        // One start waits, one stop was sent.
        await world.tick();
        expect([world.started, world.stopped]).to.eql([[], ['u']]);
        world.forget();
        await subject.advance(-3600);
        await world.tick(9);
        expect([world.started, new Set(world.stopped)]).to.eql([['b 1'], new Set(['u'])]);
      });

      it('does not take what was wanted then for what is wanted now', async () => {
        world.isControllerDown = true;
        await subject.advance(-3600);
        await world.tick();
        expect((await subject.store.freshness()).isDesiredFresh).to.equal(false);
      });
    });

    /** Without losing anything in between, as the program does whose fetches and passes may fail. */
    async function tickAnyway(count: number): Promise<void> {
      for (let done = 0; done < count; done += 1) {
        await subject.advance(10);
        await world.heartbeats().catch(() => {});
        await world.pass().catch(() => false);
      }
    }

    it('44. starts nothing that is reported still, before it is sure again and after', async () => {
      await redis.client.flushall();
      await world.tick();
      expect(await isFresh()).to.equal(false);
      await world.tick(10);
      expect(await isFresh()).to.equal(true);
      expect([world.started, world.stopped]).to.eql([[], []]);
    });

    it('orders nothing while Redis is away for a minute, and then what went missing meanwhile', async () => {
      await redis.kill();
      world.report('dea-b', { app: 'b', instance: 'b-0', index: 0 });
      await tickAnyway(6);
      await redis.restart();
      await eventually(() => subject.store.metrics().catch(() => undefined), { what: 'the store' });
      await world.tick(3);
      expect([await isFresh(), world.started, world.stopped]).to.eql([false, [], []]);
      await world.tick(4);
      expect([await isFresh(), world.started, world.stopped]).to.eql([true, ['b 1'], []]);
    });
  });
});
