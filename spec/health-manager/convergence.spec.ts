import { expect } from 'chai';
import fc from 'fast-check';
import { MemoryStore } from '../../lib/health-manager/store/memory/memory-store.js';
import { HealthWorld, type Reported } from '../support/health-world.js';
import { storeTimes } from './store/store-contract.js';

/** Ticks after which any muddle has to be sorted out: the longest wait is that for a third duplicate. */
const patienceTicks = 60;

interface Muddle {
  wanted: number;
  /** Instances by the agents that run them. */
  reported: { dea: number; index: number; state: string }[];
}

const muddle: fc.Arbitrary<Muddle> = fc.record({
  wanted: fc.nat({ max: 4 }),
  reported: fc.array(
    fc.record({
      dea: fc.nat({ max: 2 }),
      index: fc.nat({ max: 5 }),
      state: fc.constantFrom('STARTING', 'RUNNING', 'CRASHED', 'EVACUATING'),
    }),
    { maxLength: 8 },
  ),
});

/** Agents and a Cloud Controller that do what they are told, one tick later. */
class ObedientWorld {
  private now = 1_435_672_000;
  private sequence = 0;
  readonly world: HealthWorld;

  constructor({ wanted, reported }: Muddle) {
    const store = new MemoryStore({ times: storeTimes, clock: () => this.now });
    this.world = new HealthWorld({
      store,
      advance: async (seconds) => {
        this.now += seconds;
      },
    });
    this.world.desire('a', wanted);
    for (const dea of [0, 1, 2]) this.world.report(`dea-${dea}`);
    for (const { dea, index, state } of reported) this.run(dea, index, state);
  }

  run(dea: number, index: number, state: string): void {
    this.sequence += 1;
    const instance: Reported = { app: 'a', instance: `g${this.sequence}`, index, state };
    this.world.agents.get(`dea-${dea}`)!.push(instance);
  }

  get instances(): Reported[] {
    return [...this.world.agents.values()].flat();
  }

  live(index?: number): Reported[] {
    return this.instances.filter(
      (entry) => ['STARTING', 'RUNNING'].includes(entry.state!) && (index === undefined || entry.index === index),
    );
  }

  /** One tick; then orders are carried out, and what was starting runs. */
  async tick(): Promise<{ startedIndices: number[]; stopped: string[] }> {
    this.world.forget();
    await this.world.tick();
    const startedIndices = this.world.starts.map(({ instance_index }) => instance_index);
    const stopped = this.world.stops.map(({ instance_guid }) => instance_guid);
    for (const entry of this.instances) if (entry.state === 'STARTING') entry.state = 'RUNNING';
    return { startedIndices, stopped };
  }

  obey({ startedIndices, stopped }: { startedIndices: number[]; stopped: string[] }): void {
    for (const [dea, entries] of this.world.agents) {
      this.world.report(dea, ...entries.filter(({ instance }) => !stopped.includes(instance)));
    }
    for (const index of startedIndices) this.run(this.sequence % 3, index, 'STARTING');
  }
}

describe('a health manager before any muddle', function () {
  this.timeout(120_000);

  it('has exactly what is wanted in the end, and then leaves it alone', async () => {
    await fc.assert(
      fc.asyncProperty(muddle, async (start) => {
        const { wanted } = start;
        const obedient = new ObedientWorld(start);
        for (let tick = 0; tick < patienceTicks; tick += 1) obedient.obey(await obedient.tick());
        const indices = obedient
          .live()
          .map(({ index }) => index)
          .sort();
        expect(indices).to.eql(Array.from({ length: wanted }, (_, index) => index));
        for (let tick = 0; tick < 5; tick += 1) {
          const { startedIndices, stopped } = await obedient.tick();
          expect([startedIndices, stopped.filter((guid) => isLive(obedient, guid))]).to.eql([[], []]);
        }
      }),
      { numRuns: 150 },
    );
  });

  it('never stops the last live instance of a wanted index, nor starts one that is live and stays', async () => {
    await fc.assert(
      fc.asyncProperty(muddle, async (start) => {
        const obedient = new ObedientWorld(start);
        for (let tick = 0; tick < patienceTicks; tick += 1) {
          const before = new Set(obedient.live().map(({ index }) => index as number));
          const evacuating = new Set(
            obedient.instances.filter(({ state }) => state === 'EVACUATING').map(({ index }) => index as number),
          );
          const orders = await obedient.tick();
          for (const index of orders.startedIndices) {
            expect(before.has(index) && !evacuating.has(index), `start of live index ${index}`).to.equal(false);
          }
          obedient.obey({ ...orders, startedIndices: [] });
          for (const index of before) {
            if (index >= start.wanted) continue;
            expect(obedient.live(index), `live instances of index ${index}`).not.to.have.length(0);
          }
          obedient.obey({ ...orders, stopped: [] });
        }
      }),
      { numRuns: 150 },
    );
  });

  function isLive(obedient: ObedientWorld, guid: string): boolean {
    return obedient.live().some(({ instance }) => instance === guid);
  }
});
