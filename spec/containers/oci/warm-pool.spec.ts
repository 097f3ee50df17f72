import { expect } from 'chai';
import { WarmPool, type WarmPoolOptions } from '../../../lib/containers/oci/warm-pool.js';
import { silentLogger } from '../../../lib/logging/logger.js';
import { eventually } from '../../support/eventually.js';

describe('a warm pool', () => {
  let made: string[];
  let discarded: string[];
  const pools: WarmPool<string>[] = [];
  const onTheSpot = async () => 'cold';
  const pool = (options: Partial<WarmPoolOptions<string>> = {}) => {
    const created = new WarmPool<string>({
      name: 'things',
      size: 2,
      make: async (key) => {
        made.push(key);
        return [`${key}-${made.length}`];
      },
      discard: async (items) => {
        discarded.push(...items);
      },
      quietMs: 1,
      logger: silentLogger,
      ...options,
    });
    pools.push(created);
    return created;
  };

  beforeEach(() => {
    made = [];
    discarded = [];
  });

  afterEach(async () => {
    await Promise.all(pools.splice(0).map((created) => created.stop()));
  });

  it('is empty until it knows what is wanted, then fills up', async () => {
    const things = pool();
    expect(await things.obtain('a', onTheSpot)).to.equal('cold');
    await things.filled();
    expect(things.spares()).to.deep.equal(['a-1', 'a-2']);
    expect(await things.obtain('a', onTheSpot)).to.equal('a-1');
    await things.filled();
    expect(things.spares()).to.deep.equal(['a-2', 'a-3']);
  });

  it('keeps most of what was asked for last, one of what came before, and forgets older kinds', async () => {
    const things = pool({ keys: 2 });
    for (const key of ['a', 'b', 'c']) {
      await things.obtain(key, onTheSpot);
      await things.filled();
    }
    expect(things.spares().sort()).to.deep.equal(['b-3', 'b-4', 'c-5', 'c-6']);
    expect(discarded).to.deep.equal(['a-1', 'a-2']);
  });

  it('waits with the refilling until the burst is over', async () => {
    const things = pool({ quietMs: 60 });
    const begunAt = Date.now();
    for (let taken = 0; taken < 3; taken += 1) {
      await things.obtain('a', async () => {
        await new Promise((resolve) => setTimeout(resolve, 70));
        return 'slow';
      });
      expect(made).to.deep.equal([]);
    }
    await things.filled();
    expect(Date.now() - begunAt).to.be.at.least(3 * 65 + 55);
  });

  it('tries again after a failure', async () => {
    let failures = 1;
    const things = pool({
      make: async (key) => {
        if (failures-- > 0) throw new Error('not now');
        return [key];
      },
    });
    things.keep('a');
    await eventually(() => things.spares().length === 2 || undefined);
  });

  it('gives everything back when it stops, also what is being made, and makes nothing any more', async () => {
    let finish: () => void = () => {};
    const gate = new Promise<void>((resolve) => {
      finish = resolve;
    });
    const making = new Promise<void>((begin) => {
      const things = pool({
        make: async (key) => {
          begin();
          await gate;
          return [key];
        },
      });
      things.keep('a');
    });
    await making;
    const things = pools[0]!;
    const stopped = things.stop();
    finish();
    await stopped;
    await things.stop();
    await things.obtain('a', onTheSpot);
    await things.filled();
    expect(discarded).to.deep.equal(['a']);
    expect(things.spares()).to.deep.equal([]);
  });
});
