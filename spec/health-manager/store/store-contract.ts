import { expect } from 'chai';
import type { AppState } from '../../../lib/health-manager/records.js';
import type { HealthStore, StoreTimes } from '../../../lib/health-manager/store/health-store.js';
import { app, desired, instance, received, start, stop } from '../../support/health-records.js';

export const storeTimes: StoreTimes = {
  heartbeatTtl: 30,
  actualFreshnessTtl: 30,
  desiredFreshnessTtl: 120,
  crashCountTtl: 1920,
};

export interface StoreSubject {
  store: HealthStore;
  /** Lets that many seconds pass for the store. */
  advance(seconds: number): Promise<void>;
  /** Another store over the same state, as after a restart of its process. */
  reopen(): Promise<HealthStore>;
  dispose(): Promise<void>;
}

/** What every store has to do (docs/protocol/health-manager.md §3.4, §4, §5). */
export function itKeepsTheState(makeSubject: () => Promise<StoreSubject>): void {
  let subject: StoreSubject;
  let store: HealthStore;

  beforeEach(async () => {
    subject = await makeSubject();
    store = subject.store;
  });

  afterEach(() => subject.dispose());

  async function known(): Promise<AppState | undefined> {
    const [state] = await store.getApps([app]);
    return state;
  }

  /** `instance@dea:index:state` of all instances, sorted. */
  async function instances(): Promise<string[]> {
    const entries = [...((await known())?.instances.values() ?? [])];
    return entries.map((entry) => `${entry.instance}@${entry.dea}:${entry.index}:${entry.state}`).sort();
  }

  const report = (dea: string, ...entries: ReturnType<typeof instance>[]) =>
    store.saveHeartbeats([received(dea, entries)]);
  const g = (index: number, state?: string) => instance(index, state, { instance: `g${index}` });

  describe('of what agents report', () => {
    it('keeps an instance with all its fields', async () => {
      await report('dea-a', instance(3, 'STARTING', { instance: 'g', stateTimestamp: 1435672356.5 }));
      expect((await known())!.instances.get('g')).to.include({
        ...app,
        instance: 'g',
        index: 3,
        state: 'STARTING',
        stateTimestamp: 1435672356.5,
        dea: 'dea-a',
      });
    });

    it('takes a heartbeat for the full list: what it leaves out is gone', async () => {
      await report('dea-a', g(0), g(1));
      await report('dea-a', g(1));
      expect(await instances()).to.eql(['g1@dea-a:1:RUNNING']);
    });

    it('takes over changes of state and index', async () => {
      await report('dea-a', g(0, 'STARTING'));
      await report('dea-a', instance(4, 'RUNNING', { instance: 'g0' }));
      expect(await instances()).to.eql(['g0@dea-a:4:RUNNING']);
    });

    it('19. forgets the instances of a DEA that falls silent, and of no other', async () => {
      await report('dea-a', g(0));
      await subject.advance(20);
      await report('dea-b', g(1));
      await subject.advance(11);
      expect(await instances()).to.eql(['g1@dea-b:1:RUNNING']);
    });

    it('keeps the instances of a DEA that repeats itself', async () => {
      const repeated = { ...received('dea-a', [g(0)]), isRepeated: true };
      await report('dea-a', g(0));
      for (let round = 0; round < 4; round += 1) {
        await subject.advance(20);
        await store.saveHeartbeats([repeated]);
      }
      expect(await instances()).to.eql(['g0@dea-a:0:RUNNING']);
    });

    it('44. reads a repeated heartbeat again when its instances were forgotten meanwhile', async () => {
      await report('dea-a', g(0));
      await subject.advance(31);
      await store.saveHeartbeats([{ ...received('dea-a', [g(0)]), isRepeated: true }]);
      expect(await instances()).to.eql(['g0@dea-a:0:RUNNING']);
    });

    it('41. gives an instance to the DEA that listed it last, whatever the one before says or leaves out', async () => {
      await report('dea-a', g(0), g(1));
      await report('dea-b', g(0), g(1));
      expect(await instances()).to.eql(['g0@dea-b:0:RUNNING', 'g1@dea-b:1:RUNNING']);
      await report('dea-a');
      expect(await instances()).to.eql(['g0@dea-b:0:RUNNING', 'g1@dea-b:1:RUNNING']);
      await subject.advance(20);
      await report('dea-b', g(0), g(1));
      await subject.advance(20);
      expect(await instances()).to.eql(['g0@dea-b:0:RUNNING', 'g1@dea-b:1:RUNNING']);
    });

    it('gives an instance back to a DEA that lists it again in the same words', async () => {
      await report('dea-a', g(0));
      await report('dea-b', g(0));
      await store.saveHeartbeats([{ ...received('dea-a', [g(0)]), isRepeated: true }]);
      expect(await instances()).to.eql(['g0@dea-a:0:RUNNING']);
    });

    it('42. leaves what is known of an instance as it is whose entry could not be read', async () => {
      await report('dea-a', g(0), g(1));
      await store.saveHeartbeats([received('dea-a', [g(1)], { illegible: ['g0'] })]);
      expect(await instances()).to.eql(['g0@dea-a:0:RUNNING', 'g1@dea-a:1:RUNNING']);
    });

    it('moves an instance whose version changed', async () => {
      await report('dea-a', g(0));
      await report('dea-a', instance(0, 'RUNNING', { instance: 'g0', version: 'next' }));
      const [before, after] = await store.getApps([app, { ...app, version: 'next' }]);
      expect(before).to.equal(undefined);
      expect([...after!.instances.keys()]).to.eql(['g0']);
    });

    it('21. tells which instances have begun to evacuate, once', async () => {
      await report('dea-a', g(0), g(1, 'CRASHED'));
      const evacuating = [g(0, 'EVACUATING'), g(1, 'EVACUATING'), g(2, 'EVACUATING')];
      expect((await report('dea-a', ...evacuating)).map((entry) => entry.instance)).to.have.members(['g0', 'g2']);
      expect(await report('dea-a', ...evacuating)).to.eql([]);
    });
  });

  describe('of freshness', () => {
    it('2. is fresh when it was bumped for long enough without a gap', async () => {
      const seen: boolean[] = [];
      for (let tick = 0; tick < 5; tick += 1) {
        await store.bumpActual();
        seen.push((await store.freshness()).isActualFresh);
        await subject.advance(10);
      }
      expect(seen).to.eql([false, false, false, true, true]);
    });

    it('3. is not fresh any more when bumps stay away', async () => {
      for (let tick = 0; tick < 5; tick += 1) {
        await store.bumpActual();
        await subject.advance(10);
      }
      await subject.advance(21);
      expect((await store.freshness()).isActualFresh).to.equal(false);
    });

    it('4. begins anew after it was revoked', async () => {
      for (let tick = 0; tick < 5; tick += 1) {
        await store.bumpActual();
        await subject.advance(10);
      }
      await store.revokeActual();
      expect((await store.freshness()).isActualFresh).to.equal(false);
      await store.bumpActual();
      await subject.advance(10);
      await store.bumpActual();
      expect((await store.freshness()).isActualFresh).to.equal(false);
    });

    it('32. believes the desired state for its time', async () => {
      expect((await store.freshness()).isDesiredFresh).to.equal(false);
      await store.syncDesired([]);
      await subject.advance(119);
      expect((await store.freshness()).isDesiredFresh).to.equal(true);
      await subject.advance(2);
      expect((await store.freshness()).isDesiredFresh).to.equal(false);
    });
  });

  describe('of what is desired', () => {
    it('replaces it all', async () => {
      await store.syncDesired([desired(2), { ...desired(1, 'PENDING'), app: 'other' }]);
      expect((await known())!.desired).to.eql(desired(2));
      await store.syncDesired([{ ...desired(4), app: 'other' }]);
      expect(await known()).to.equal(undefined);
      const [other] = await store.getApps([{ ...app, app: 'other' }]);
      expect(other!.desired!.instances).to.equal(4);
    });

    it('knows an app without instances, and one that nobody desires', async () => {
      await store.syncDesired([desired(2)]);
      await report('dea-a', instance(0, 'RUNNING', { app: 'unwanted', instance: 'u' }));
      const [wanted, unwanted, unknown] = await store.getApps([
        app,
        { ...app, app: 'unwanted' },
        { ...app, app: 'unknown' },
      ]);
      expect(wanted!.instances.size).to.equal(0);
      expect([...unwanted!.instances.keys()]).to.eql(['u']);
      expect(unwanted!.desired).to.equal(undefined);
      expect(unknown).to.equal(undefined);
    });
  });

  describe('of orders and crashes', () => {
    const counts = [{ ...app, index: 1, crashCount: 4, createdAt: 1000 }];

    it('shows them with their app', async () => {
      const [waiting, ending] = [start(1), stop('g0')];
      await report('dea-a', g(0));
      await store.saveOrders({ crashCounts: counts, starts: [waiting], stops: [ending] });
      const state = (await known())!;
      expect(state.crashCounts.get(1)).to.include({ index: 1, crashCount: 4, createdAt: 1000 });
      expect(state.pendingStarts.get(1)).to.eql(waiting);
      expect(state.pendingStops.get('g0')).to.eql(ending);
      expect([await store.pendingStarts(), await store.pendingStops()]).to.eql([[waiting], [ending]]);
    });

    it('visits every app of which anything is known', async () => {
      await store.syncDesired([desired(1)]);
      await report('dea-a', instance(0, 'RUNNING', { app: 'running' }));
      await store.saveOrders({ crashCounts: [{ ...counts[0]!, app: 'crashed' }], starts: [], stops: [] });
      await store.saveOrders({ crashCounts: [], starts: [start(0, { app: 'waiting' })], stops: [] });
      const seen: string[] = [];
      await store.forEachApp((state) => void seen.push(state.app));
      expect(seen.sort()).to.eql([app.app, 'crashed', 'running', 'waiting'].sort());
    });

    it('keeps a sent order, and forgets a deleted one', async () => {
      const [kept, gone, ending] = [start(0), start(1), stop('g0')];
      await store.saveOrders({ crashCounts: [], starts: [kept, gone], stops: [ending] });
      const sent = { ...kept, sentOn: 1234 };
      await store.commitSendResult({
        sentStarts: [sent],
        sentStops: [],
        deletedStarts: [gone],
        deletedStops: [ending],
      });
      expect([await store.pendingStarts(), await store.pendingStops()]).to.eql([[sent], []]);
    });

    it('lets an order live that replaced another while that was being sent', async () => {
      const [before, after] = [start(0), start(0)];
      await store.saveOrders({ crashCounts: [], starts: [before], stops: [] });
      await store.saveOrders({ crashCounts: [], starts: [after], stops: [] });
      await store.commitSendResult({ sentStarts: [], sentStops: [], deletedStarts: [before], deletedStops: [] });
      await store.commitSendResult({
        sentStarts: [{ ...before, sentOn: 1234 }],
        sentStops: [],
        deletedStarts: [],
        deletedStops: [],
      });
      expect(await store.pendingStarts()).to.eql([after]);
    });

    it('16. forgets crashes after their time', async () => {
      await store.syncDesired([desired(1)]);
      await store.saveOrders({ crashCounts: counts, starts: [], stops: [] });
      await subject.advance(storeTimes.crashCountTtl + 1);
      await store.forEachApp(() => {});
      await store.syncDesired([desired(1)]);
      expect((await known())!.crashCounts.size).to.equal(0);
    });

    it('has them all after a restart, and no instance before its DEA reports it', async () => {
      const [waiting, ending] = [start(1), stop('g0')];
      await store.saveOrders({ crashCounts: counts, starts: [waiting, start(2)], stops: [ending] });
      await store.commitSendResult({
        sentStarts: [{ ...waiting, sentOn: 7 }],
        sentStops: [],
        deletedStarts: [],
        deletedStops: [ending],
      });
      store = await subject.reopen();
      await report('dea-a', g(0));
      const state = (await known())!;
      expect(state.crashCounts.get(1)).to.include({ crashCount: 4, createdAt: 1000 });
      expect([...state.pendingStarts.keys()].sort()).to.eql([1, 2]);
      expect(state.pendingStarts.get(1)!.sentOn).to.equal(7);
      expect(state.pendingStops.size).to.equal(0);
    });
  });

  it('holds apps until their time is over, or somebody releases them', async () => {
    await store.holdApp('moving', 180);
    await store.holdApp('released', 180);
    await store.releaseApp('released');
    expect([...(await store.heldApps())]).to.eql(['moving']);
    await subject.advance(181);
    expect((await store.heldApps()).size).to.equal(0);
  });

  it('keeps metrics by their names', async () => {
    await store.saveMetrics({ NumberOfDesiredApps: 7, StartMissing: 1.5 });
    await store.saveMetrics({ StartMissing: 2 });
    expect(await store.metrics()).to.eql({ NumberOfDesiredApps: 7, StartMissing: 2 });
  });
}
