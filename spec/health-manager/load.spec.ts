import { expect } from 'chai';
import type { HealthStore } from '../../lib/health-manager/store/health-store.js';
import { MemoryStore } from '../../lib/health-manager/store/memory/memory-store.js';
import { RedisStore } from '../../lib/health-manager/store/redis/redis-store.js';
import { silentLogger } from '../../lib/logging/logger.js';
import { HealthWorld, heartbeat, type Reported, version } from '../support/health-world.js';
import { startRedis } from '../support/redis.js';
import { storeTimes } from './store/store-contract.js';

const agents = 1000;
const perAgent = 100;
const rounds = 10;
/** Agents in each round of which an instance has changed. */
const changing = 20;
/** Seconds of haste; `npm run chaos` takes longer. */
const seconds = process.env.CHAOS_ROUNDS ? 10 : 3;

/** Milliseconds. */
interface Cost {
  wallMs: number;
  processorMs: number;
}

async function costOf(work: () => Promise<void>): Promise<Cost> {
  const begun = performance.now();
  const before = process.cpuUsage();
  await work();
  const { user, system } = process.cpuUsage(before);
  return { wallMs: Math.round(performance.now() - begun), processorMs: Math.round((user + system) / 1000) };
}

function tell({ wallMs, processorMs }: Cost): string {
  return `${wallMs} ms (processor ${processorMs} ms)`;
}

/** In the place of a clock: seconds pass when they are over. */
class Clock {
  now = 1_435_672_000;
}

const stores = {
  'a store of its own': async (clock: Clock) => ({
    store: new MemoryStore({ times: storeTimes, clock: () => clock.now }),
    dispose: async () => {},
  }),
  Redis: async (clock: Clock) => {
    const redis = await startRedis();
    const options = { times: storeTimes, url: redis.url, clock: () => clock.now, logger: silentLogger };
    const store = new RedisStore(options);
    await store.start();
    const dispose = async () => {
      await store.stop();
      await redis.stop();
    };
    return { store, dispose };
  },
};

/** Processor time is asserted, since others may be at work on this machine; of the wall clock it is told. */
describe('a health manager under load', function () {
  this.timeout(120_000);

  const guid = (kind: string, number: number) =>
    `${kind}${String(number).padStart(7, '0')}-7f3e-4b57-9a55-0d4f3d1b7c11`;

  /** Each app has two instances, on two agents. */
  function instancesOf(agent: number): Reported[] {
    return Array.from({ length: perAgent }, (_, place) => {
      const sequence = place * agents + agent;
      return { app: guid('a', Math.floor(sequence / 2)), instance: guid('i', sequence), index: sequence % 2 };
    });
  }

  async function bear(store: HealthStore, clock: Clock): Promise<void> {
    const world = makeWorld(store, clock);
    world.desired = Array.from({ length: (agents * perAgent) / 2 }, (_, app) => ({
      ...{ app: guid('a', app), version, instances: 2 },
      packageState: 'STAGED',
    }));
    const payloads = Array.from({ length: agents }, (_, agent) => heartbeat(guid('d', agent), instancesOf(agent)));
    const saves: Cost[] = [];
    const saveAll = async () => {
      const cost = await costOf(async () => {
        for (const payload of payloads) world.listener.receive(payload);
        await world.listener.flush();
      });
      saves.push(cost);
      clock.now += 1;
    };
    await saveAll();
    await store.syncDesired(world.desired);
    clock.now += 27;
    for (let round = 0; round < rounds; round += 1) {
      for (let agent = round * changing; agent < (round + 1) * changing; agent += 1) {
        const [first, ...others] = instancesOf(agent);
        payloads[agent] = heartbeat(guid('d', agent), [{ ...first!, state: 'CRASHED' }, ...others]);
      }
      await saveAll();
    }
    let isFresh = false;
    const analysis = await costOf(async () => {
      isFresh = await world.pass();
    });
    expect(isFresh).to.equal(true);
    const [first, ...later] = saves;
    const slowest = later.reduce((worst, save) => (save.processorMs > worst.processorMs ? save : worst));
    console.log(`      first save ${tell(first!)}, the dearest later one ${tell(slowest)}, pass ${tell(analysis)}`);
    expect(world.metrics.gauges.get('NumberOfRunningInstances')).to.equal(agents * perAgent - rounds * changing);
    expect(world.metrics.gauges.get('NumberOfMissingIndices')).to.equal(0);
    // Sixty in a pass, of all that crashed.
    expect(world.starts).to.have.length(60);
    expect(slowest.processorMs).to.be.below(1000);
    expect(analysis.processorMs).to.be.below(2500);
  }

  /** Ten thousand agents that are in a hurry. */
  async function bearMany(store: HealthStore, clock: Clock): Promise<void> {
    const world = makeWorld(store, clock);
    const payloads = Array.from({ length: 10_000 }, (_, agent) =>
      heartbeat(guid('d', agent), [{ app: guid('a', agent), instance: guid('i', agent) }]),
    );
    const second = async () => {
      for (let beat = 0; beat < 10; beat += 1) for (const payload of payloads) world.listener.receive(payload);
      await world.listener.flush();
      clock.now += 1;
    };
    await second();
    const costs: Cost[] = [];
    for (let count = 0; count < seconds; count += 1) costs.push(await costOf(second));
    const middle = costs.sort((a, b) => a.processorMs - b.processorMs)[Math.floor(costs.length / 2)]!;
    console.log(`      a second of them in ${tell(middle)}`);
    expect(world.metrics.gauges.get('SavedHeartbeats')).to.equal(100_000);
    expect(middle.processorMs).to.be.below(1000);
  }

  const makeWorld = (store: HealthStore, clock: Clock) =>
    new HealthWorld({
      store,
      async advance(advanced) {
        clock.now += advanced;
      },
    });

  for (const [name, open] of Object.entries(stores)) {
    const withStore = async (work: (store: HealthStore, clock: Clock) => Promise<void>) => {
      const clock = new Clock();
      const { store, dispose } = await open(clock);
      try {
        await work(store, clock);
      } finally {
        await dispose();
      }
    };

    it(`40. keeps up with a thousand agents of a hundred instances, every second, with ${name}`, () => withStore(bear));

    it(`takes a hundred thousand heartbeats in a second, with ${name}`, () => withStore(bearMany));
  }
});
