import { expect } from 'chai';
import { AppStateReport } from '../../lib/health-manager/api/app-state.js';
import { MassStopGuard } from '../../lib/health-manager/decisions/mass-stop-guard.js';
import { StartBudget } from '../../lib/health-manager/decisions/start-budget.js';
import { HealthWorld, heartbeat, type Reported, version, type WorldOptions } from '../support/health-world.js';
import type { StoreSubject } from './store/store-contract.js';

/**
 * What a health manager does in the course of time, whichever store it has
 * (docs/protocol/health-manager.md §13, by the numbers there).
 */
export function itManagesHealth(makeSubject: () => Promise<StoreSubject>): void {
  let subject: StoreSubject;
  let world: HealthWorld;

  beforeEach(async () => {
    subject = await makeSubject();
    world = makeWorld();
  });

  afterEach(() => subject.dispose());

  const makeWorld = (options: Partial<WorldOptions> = {}) =>
    new HealthWorld({ store: subject.store, advance: (seconds) => subject.advance(seconds), ...options });
  const of = (app: string, index: number, state?: string): Reported => ({
    app,
    instance: `${app}-${index}`,
    index,
    ...(state !== undefined && { state }),
  });

  describe('while all is as it should be', () => {
    it('1. orders nothing', async () => {
      world.desire('a', 1);
      world.desire('b', 1);
      world.report('dea', of('a', 0), of('b', 0));
      await world.becomeFresh();
      await world.tick();
      expect([world.started, world.stopped]).to.eql([[], []]);
    });

    it('37. counts what it sees, and says -1 while it knows nothing', async () => {
      world.desire('a', 2);
      world.report('dea', of('a', 0));
      await world.heartbeats();
      await world.pass();
      expect(world.metrics.gauges.get('NumberOfDesiredApps')).to.equal(-1);
      await world.becomeFresh();
      await world.tick(3);
      expect(world.metrics.gauges.get('NumberOfAppsWithMissingInstances')).to.equal(1);
      expect(world.metrics.gauges.get('NumberOfUndesiredRunningApps')).to.equal(0);
      expect(world.metrics.counters.get('StartMissing')).to.equal(1);
      expect((await subject.store.metrics()).NumberOfDesiredApps).to.equal(1);
    });
  });

  describe('of freshness', () => {
    it('2. does nothing before heartbeats were saved for thirty seconds', async () => {
      world.desire('a', 1);
      world.report('dea');
      const fresh: boolean[] = [];
      for (let tick = 0; tick < 4; tick += 1) {
        await world.heartbeats();
        fresh.push(await world.pass());
        await subject.advance(10);
      }
      expect(fresh).to.eql([false, false, false, true]);
      expect(world.started).to.eql([]);
    });

    it('3. does nothing after all heartbeats stayed away, however much is missing', async () => {
      world.desire('a', 1);
      world.report('dea', of('a', 0));
      await world.becomeFresh();
      world.desire('a', 2);
      world.agents.clear();
      await subject.advance(31);
      expect(await world.pass()).to.equal(false);
      expect(world.started).to.eql([]);
      const answer = await new AppStateReport(subject.store).ofMany([{ app: 'a', version }]);
      expect(answer.toString()).to.equal('{}');
    });

    it('32. sends nothing after the Cloud Controller was silent for two minutes, and goes on when it is back', async () => {
      world.desire('a', 2);
      world.report('dea', of('a', 0), of('unwanted', 0));
      await world.becomeFresh();
      world.isControllerDown = true;
      await world.tick(12);
      world.forget();
      await world.tick(6);
      expect([world.started, world.stopped]).to.eql([[], []]);
      world.isControllerDown = false;
      // What was sent before the silence is forgotten first.
      await world.tick(5);
      expect(new Set(world.stopped)).to.eql(new Set(['unwanted-0']));
      expect(new Set(world.started)).to.eql(new Set(['a 1']));
    });

    it('4. begins anew after a save that failed', async () => {
      world.report('dea', of('a', 0));
      world.desire('a', 1);
      await world.becomeFresh();
      const { saveHeartbeats } = subject.store;
      subject.store.saveHeartbeats = () => Promise.reject(new Error('the disk is gone'));
      await world.heartbeats();
      subject.store.saveHeartbeats = saveHeartbeats;
      expect(await world.pass()).to.equal(false);
      await world.tick(3);
      expect((await subject.store.freshness()).isActualFresh).to.equal(false);
      await world.tick();
      expect((await subject.store.freshness()).isActualFresh).to.equal(true);
    });

    it('42. is not impressed by heartbeats that say nothing', async () => {
      world.report('dea', of('a', 0), of('a', 1), of('a', 2));
      world.desire('a', 3);
      await world.becomeFresh();
      for (const poison of ['{}', 'null', '{"dea":""}', '[]', '{"dea":5}', '}{', '']) {
        world.listener.receiveOrDrop(Buffer.from(poison));
      }
      world.report('dea', of('a', 0), { ...of('a', 1), index: '1' }, of('a', 2));
      await world.tick(5);
      expect((await subject.store.freshness()).isActualFresh).to.equal(true);
      expect([world.started, world.stopped]).to.eql([[], []]);
    });
  });

  describe('of what is missing', () => {
    it('5. starts it three ticks later, once', async () => {
      world.desire('a', 2);
      world.report('dea', of('a', 0));
      await world.heartbeats();
      await world.tick(3);
      expect(world.started).to.eql([]);
      await world.tick(2);
      expect(world.started).to.eql([]);
      await world.tick();
      expect(world.starts).to.have.length(1);
      expect(world.starts[0]).to.include({ droplet: 'a', version, instance_index: 1 });
    });

    it('6. does not start what has healed, or is not wanted any more', async () => {
      for (const app of ['healing', 'shrinking']) world.desire(app, 2);
      world.report('dea', of('healing', 0), of('shrinking', 0));
      await world.heartbeats();
      await world.tick(5);
      world.report('dea', of('healing', 0), of('healing', 1), of('shrinking', 0));
      world.desire('shrinking', 1);
      await world.tick(2);
      expect(world.started).to.eql([]);
      expect(await subject.store.pendingStarts()).to.eql([]);
    });

    it('starts again every four ticks what stays missing', async () => {
      world.desire('a', 1);
      world.report('dea');
      await world.becomeFresh();
      const ticks: number[] = [];
      for (let tick = 1; tick <= 12; tick += 1) {
        world.forget();
        await world.tick();
        if (world.starts.length > 0) ticks.push(tick);
      }
      expect(ticks).to.eql([2, 6, 10]);
    });

    it('7. leaves an app alone that is being staged', async () => {
      world.desire('running', 1, { packageState: 'PENDING' });
      world.desire('empty', 1, { packageState: 'PENDING' });
      world.report('dea', of('running', 0));
      await world.becomeFresh();
      await world.tick(5);
      expect([world.started, world.stopped]).to.eql([[], []]);
    });

    it('18. starts what an agent dropped from its list after the grace period', async () => {
      world.desire('a', 2);
      world.report('dea', of('a', 0), of('a', 1));
      await world.becomeFresh();
      world.report('dea', of('a', 0));
      await world.tick(3);
      expect(world.started).to.eql([]);
      await world.tick();
      expect(world.started).to.eql(['a 1']);
    });

    it('19. starts what a silent agent ran six to seven ticks later, and nothing of the others', async () => {
      world.desire('a', 1);
      world.desire('b', 1);
      world.report('lost', of('a', 0));
      world.report('other', of('b', 0));
      await world.becomeFresh();
      world.agents.delete('lost');
      await world.tick(5);
      expect(world.started).to.eql([]);
      await world.tick();
      expect(world.started).to.eql(['a 0']);
    });

    it('20. takes the last of two heartbeats of one agent', async () => {
      world.report('dea', of('a', 0));
      world.desire('a', 1);
      world.listener.receive(heartbeat('dea', [of('a', 0), of('b', 0)]));
      await world.heartbeats();
      const [a, b] = await subject.store.getApps([
        { app: 'a', version },
        { app: 'b', version },
      ]);
      expect(a!.instances.size).to.equal(1);
      expect(b).to.equal(undefined);
    });
  });

  describe('of what is too much', () => {
    it('8. stops what is not wanted, once in four ticks', async () => {
      world.report('dea', of('unwanted', 0));
      await world.heartbeats();
      await world.tick(3);
      expect(world.stopped).to.eql(['unwanted-0']);
      await world.tick(3);
      expect(world.stopped).to.have.length(1);
      await world.tick();
      expect(world.stopped).to.have.length(2);
    });

    it('9. stops an index beyond the wanted number at once', async () => {
      world.desire('a', 1);
      world.report('dea', of('a', 0), of('a', 1));
      await world.heartbeats();
      await world.tick(3);
      expect(world.stopped).to.eql(['a-1']);
    });

    it('9. stops no index that is wanted in time', async () => {
      world.desire('a', 1);
      world.report('dea', of('a', 0), of('a', 1));
      await world.heartbeats();
      await world.tick(2);
      world.desire('a', 2);
      await world.tick(4);
      expect([world.started, world.stopped]).to.eql([[], []]);
    });

    it('10. waits a tick with stops while a start is queued', async () => {
      world.desire('a', 3);
      world.report('dea', of('a', 0), of('a', 1), of('a', 2));
      await world.becomeFresh();
      world.desire('a', 2);
      world.report('dea', of('a', 1), of('a', 2));
      await world.tick();
      expect([world.started, world.stopped]).to.eql([[], []]);
      await world.tick();
      expect(world.stopped).to.eql(['a-2']);
      await world.tick(2);
      expect(world.started).to.eql(['a 0']);
    });

    it('11. stops another version', async () => {
      world.desire('a', 1);
      world.report('dea', of('a', 0), { ...of('a', 0), instance: 'old', version: 'v0' });
      await world.becomeFresh();
      await world.tick(4);
      expect(new Set(world.stopped)).to.eql(new Set(['old']));
    });

    it('12. stops one of two on an index after two minutes, and no second one', async () => {
      world.desire('a', 1);
      const [first, second] = [of('a', 0), { ...of('a', 0), instance: 'second' }];
      world.report('dea', first, second);
      await world.heartbeats();
      await world.tick(14);
      expect(world.stopped).to.eql([]);
      await world.tick();
      expect(world.stops).to.have.length(1);
      expect(world.stops[0]!.is_duplicate).to.equal(true);
      world.report('dea', world.stops[0]!.instance_guid === 'second' ? first : second);
      await world.tick(6);
      expect(world.stops).to.have.length(1);
    });

    it('12. stops only one of two whose stops fall due together', async () => {
      world.desire('a', 1);
      world.report('dea', of('a', 0), { ...of('a', 0), instance: 'second' });
      await world.becomeFresh();
      // Nothing can be sent while the stops fall due.
      const { pendingStops } = subject.store;
      subject.store.pendingStops = async () => [];
      await world.tick(20);
      subject.store.pendingStops = pendingStops;
      await world.tick();
      expect(world.stops).to.have.length(1);
    });

    it('12. stops neither when the surplus goes by itself', async () => {
      world.desire('a', 1);
      world.report('dea', of('a', 0), { ...of('a', 0), instance: 'second' });
      await world.becomeFresh();
      world.report('dea', of('a', 0));
      await world.tick(20);
      expect(world.stopped).to.eql([]);
    });

    it('holds the stops of an app that is handed over, until the hold is over', async () => {
      world.desire('a', 1);
      world.report('dea', of('a', 0));
      await world.becomeFresh();
      await subject.store.holdApp('a', 100);
      world.desired = [];
      await world.tick(9);
      expect(world.stopped).to.eql([]);
      await world.tick(2);
      expect(world.stopped).to.eql(['a-0']);
    });
  });

  describe('of crashes', () => {
    it('13. tries one index of an app that crashes everywhere, and stops nothing', async () => {
      world.desire('a', 3);
      world.report('dea', of('a', 0, 'CRASHED'), of('a', 1, 'CRASHED'), of('a', 2, 'CRASHED'));
      await world.heartbeats();
      await world.tick(3);
      expect([world.started, world.stopped]).to.eql([['a 0'], []]);
    });

    it('14. starts all crashed indices of an app that runs somewhere', async () => {
      world.desire('a', 3);
      world.report('dea', of('a', 0, 'CRASHED'), of('a', 1), of('a', 2, 'CRASHED'));
      await world.heartbeats();
      await world.tick(3);
      expect([world.started, world.stopped]).to.eql([['a 0', 'a 2'], []]);
    });

    it('15. starts what crashes for ever less and less often', async () => {
      world.desire('a', 1);
      world.report('dea', of('a', 0, 'CRASHED'));
      await world.heartbeats();
      await world.tick(2);
      const seconds: number[] = [];
      for (let tick = 0; tick <= 130; tick += 1) {
        world.forget();
        await world.tick();
        if (world.starts.length > 0) seconds.push(tick * 10);
      }
      expect(seconds).to.eql([0, 40, 80, 150, 250, 410, 690, 1210]);
      const [app] = await subject.store.getApps([{ app: 'a', version }]);
      expect(app!.crashCounts.get(0)!.crashCount).to.equal(9);
    });

    it('16. goes on with its back-off after a short run', async () => {
      world.desire('a', 1);
      world.report('dea', of('a', 0, 'CRASHED'));
      await world.becomeFresh();
      await world.tick(9);
      const crashes = async () =>
        (await subject.store.getApps([{ app: 'a', version }]))[0]!.crashCounts.get(0)?.crashCount;
      const before = (await crashes())!;
      expect(before).to.be.above(2);
      world.report('dea', of('a', 0));
      await world.tick(6);
      world.report('dea', of('a', 0, 'CRASHED'));
      await world.tick(8);
      expect(await crashes()).to.be.above(before);
    });
  });

  describe('of crashes that are waited with', () => {
    it('forgets the start when its app is gone or smaller, and has none in the way when it is wanted again', async () => {
      world.desire('gone', 1);
      world.desire('smaller', 2);
      world.report('dea', of('gone', 0, 'CRASHED'), of('smaller', 0), of('smaller', 1, 'CRASHED'));
      await world.becomeFresh();
      await world.tick(45);
      expect((await subject.store.pendingStarts()).map(({ app }) => app).sort()).to.eql(['gone', 'smaller']);
      world.desired = [];
      world.desire('smaller', 1);
      world.report('dea', of('smaller', 0));
      await world.tick();
      expect(await subject.store.pendingStarts()).to.eql([]);
      world.desire('smaller', 2);
      world.forget();
      await world.tick(4);
      expect(world.started).to.eql(['smaller 1']);
    });
  });

  describe('of crashes that are long past', () => {
    it('16. begins anew to be patient after a long run', async () => {
      world.desire('a', 1);
      world.report('dea', of('a', 0, 'CRASHED'));
      await world.becomeFresh();
      await world.tick(30);
      world.report('dea', of('a', 0));
      await world.tick(194);
      world.report('dea', of('a', 0, 'CRASHED'));
      world.forget();
      await world.tick();
      expect(world.started).to.eql(['a 0']);
      const [app] = await subject.store.getApps([{ app: 'a', version }]);
      expect(app!.crashCounts.get(0)!.crashCount).to.equal(1);
    });

    it('28. keeps a start that was sent for thirty seconds, in which there is no other', async () => {
      world.desire('a', 1);
      world.report('dea', of('a', 0, 'CRASHED'));
      await world.heartbeats();
      await world.tick(3);
      expect(world.started).to.eql(['a 0']);
      const waiting: number[] = [];
      for (let tick = 1; tick <= 3; tick += 1) {
        await world.tick();
        waiting.push((await subject.store.pendingStarts()).length);
      }
      expect(waiting).to.eql([1, 1, 0]);
      expect(world.started).to.eql(['a 0']);
    });
  });

  describe('of evacuation', () => {
    it('21. starts a substitute at once and once, and stops nothing', async () => {
      world.desire('a', 1);
      world.report('dea', of('a', 0));
      await world.becomeFresh();
      world.report('dea', of('a', 0, 'EVACUATING'));
      await world.heartbeats();
      expect(world.started).to.eql(['a 0']);
      await world.tick();
      world.restartListener();
      await world.tick();
      expect([world.started, world.stopped]).to.eql([['a 0'], []]);
    });

    it('22. stops the evacuating one when its substitute runs elsewhere, not while it starts', async () => {
      world.desire('a', 1);
      world.report('leaving', of('a', 0));
      await world.becomeFresh();
      world.report('leaving', of('a', 0, 'EVACUATING'));
      world.report('staying', { ...of('a', 0, 'STARTING'), instance: 'substitute' });
      await world.tick(2);
      expect(world.stopped).to.eql([]);
      world.forget();
      world.report('staying', { ...of('a', 0), instance: 'substitute' });
      await world.tick();
      expect([world.started, world.stopped]).to.eql([[], ['a-0 duplicate']]);
    });

    it('23. orders nothing but a stop for what evacuates beyond the wanted number', async () => {
      world.desire('a', 1);
      world.report('dea', of('a', 0), of('a', 1, 'STARTING'));
      await world.becomeFresh();
      world.report('dea', of('a', 0), of('a', 1, 'EVACUATING'));
      await world.tick(4);
      expect(world.started).to.eql([]);
      expect(world.stopped[0]).to.equal('a-1');
    });

    it('23. starts at once and stops in the next pass what evacuates and has crashed before', async () => {
      world.desire('a', 1);
      world.report('dea', of('a', 0, 'CRASHED'));
      await world.becomeFresh();
      world.report('dea', of('a', 0));
      await world.tick(4);
      world.forget();
      world.report('dea', of('a', 0, 'EVACUATING'));
      await subject.advance(10);
      await world.heartbeats();
      expect([world.started, world.stopped]).to.eql([['a 0'], []]);
      await world.pass();
      expect([world.started, world.stopped]).to.eql([['a 0'], ['a-0 duplicate']]);
    });

    it('24. replaces what an old agent says to be leaving, though it runs still', async () => {
      world.desire('a', 1);
      world.report('dea', of('a', 0));
      await world.becomeFresh();
      await world.leave('a', 0);
      await world.leave('a', 0);
      expect(world.started).to.eql(['a 0']);
      await world.tick(2);
      expect([world.started, world.stopped]).to.eql([['a 0'], []]);
    });

    it('25. keeps such a start until the state is fresh', async () => {
      world.desire('a', 1);
      world.report('dea', of('a', 0));
      await world.heartbeats();
      await world.leave('a', 0);
      expect(world.started).to.eql([]);
      expect(await subject.store.pendingStarts()).to.have.length(1);
      await world.tick(3);
      expect(world.started).to.eql(['a 0']);
    });

    it('starts no substitute for an app that nobody wants', async () => {
      world.desire('other', 1);
      world.report('dea', of('other', 0), of('a', 0));
      await world.becomeFresh();
      await world.leave('a', 0);
      expect(world.started).to.eql([]);
    });
  });

  describe('of sending', () => {
    it('26. keeps its limit, starts whole apps first, and stops without a limit', async () => {
      world = makeWorld({ startsPerPass: 8 });
      const instances: Reported[] = [];
      for (let app = 0; app < 8; app += 1) {
        world.desire(`half-${app}`, 2);
        instances.push(of(`half-${app}`, 0));
      }
      for (let app = 0; app < 9; app += 1) world.desire(`whole-${app}`, 1);
      for (let index = 0; index < 40; index += 1) instances.push(of('unwanted', index));
      world.report('dea', ...instances);
      await world.heartbeats();
      await world.tick(3);
      expect([world.starts.length, world.stops.length]).to.eql([0, 40]);
      world.forget();
      await world.tick(3);
      expect(world.started).to.have.length(8);
      expect(world.started.every((start) => start.startsWith('whole'))).to.equal(true);
      world.forget();
      await world.tick();
      expect(world.started.filter((start) => start.startsWith('whole'))).to.have.length(1);
      expect([world.starts.length, world.stops.length]).to.eql([8, 40]);
      world.forget();
      await world.tick();
      expect(world.started).to.have.length(1);
    });

    it('gives no more starts than there is a budget for, in passes and at once', async () => {
      const startBudget = new StartBudget({ perSecond: 0.000_001, burst: 3 });
      world = makeWorld({ startBudget });
      for (const app of ['a', 'b', 'c', 'd']) world.desire(app, 1);
      world.report('dea', of('a', 0, 'CRASHED'), of('b', 0, 'CRASHED'), of('c', 0), of('d', 0));
      await world.heartbeats();
      await world.tick(3);
      expect(world.started).to.eql(['a 0', 'b 0']);
      await world.leave('c', 0);
      await world.leave('d', 0);
      await world.tick(2);
      expect(world.started).to.eql(['a 0', 'b 0', 'c 0']);
      expect((await subject.store.pendingStarts()).some(({ app, sentOn }) => app === 'd' && sentOn === 0)).to.equal(
        true,
      );
    });

    it('29. tries again with the same message what was refused, and counts it nowhere', async () => {
      world.desire('a', 1);
      world.report('dea', of('a', 0, 'CRASHED'));
      await world.heartbeats();
      const tried: string[] = [];
      world.refuses = ({ message_id }) => {
        tried.push(message_id);
        return tried.length < 4 ? 'status 500' : undefined;
      };
      await world.tick(7);
      expect(tried).to.have.length(4);
      expect(new Set(tried).size).to.equal(1);
      expect(world.started).to.eql(['a 0']);
      expect(world.metrics.counters.get('StartCrashed')).to.equal(1);
    });

    it('lets no refused start use up the limit', async () => {
      world = makeWorld({ startsPerPass: 2 });
      for (const app of ['a', 'b', 'c']) world.desire(app, 1);
      world.report('dea', of('a', 0, 'CRASHED'), of('b', 0, 'CRASHED'), of('c', 0, 'CRASHED'));
      await world.heartbeats();
      world.refuses = ({ droplet }) => (droplet === 'c' ? undefined : 'status 500');
      await world.tick(3);
      expect(world.started).to.eql(['c 0']);
    });

    it('46. replaces a version: the old is stopped at the first tick, the new started at the fourth', async () => {
      world.desire('a', 1);
      world.report('dea', of('a', 0));
      await world.becomeFresh();
      world.desire('a', 1, { version: 'v2' });
      await world.tick();
      expect([world.started, world.stopped]).to.eql([[], ['a-0']]);
      await world.tick(2);
      expect(world.started).to.eql([]);
      await world.tick();
      expect(world.starts.map((order) => order.version)).to.eql(['v2']);
    });
  });

  describe('of a version that changes, where it may wait', () => {
    beforeEach(async () => {
      world = makeWorld({ versionChangeHoldSeconds: 200 });
      world.desire('a', 1);
      world.report('dea', of('a', 0));
      await world.becomeFresh();
      world.desire('a', 1, { version: 'v2' });
    });

    it('stops the old version when the new one runs', async () => {
      await world.tick(4);
      expect(world.starts.map((order) => order.version)).to.eql(['v2']);
      world.report('dea', of('a', 0), { ...of('a', 0, 'STARTING'), instance: 'new', version: 'v2' });
      await world.tick(2);
      expect(world.stopped).to.eql([]);
      world.report('dea', of('a', 0), { ...of('a', 0), instance: 'new', version: 'v2' });
      await world.tick();
      expect(world.stopped).to.eql(['a-0']);
    });

    it('stops the old version when its time is over, and again when it lives on', async () => {
      await world.tick(20);
      expect(world.stopped).to.eql([]);
      await world.tick();
      expect(world.stopped).to.eql(['a-0']);
      await world.tick(4);
      expect(world.stopped).to.eql(['a-0', 'a-0']);
    });
  });

  describe('of agents and desires that change under it', () => {
    it('41. knows an instance again whose agent has started anew', async () => {
      world.desire('a', 1);
      world.report('before', of('a', 0));
      await world.becomeFresh();
      world.agents.delete('before');
      world.report('after', of('a', 0));
      await world.tick();
      world.report('before');
      await world.tick(6);
      const [app] = await subject.store.getApps([{ app: 'a', version }]);
      expect([...app!.instances.values()].map(({ instance, dea }) => [instance, dea])).to.eql([['a-0', 'after']]);
      expect([world.started, world.stopped]).to.eql([[], []]);
    });

    it('does not stop everything because a Cloud Controller says that nothing is wanted', async () => {
      const guard = new MassStopGuard();
      world = makeWorld({ guard });
      const instances: Reported[] = [];
      for (let app = 0; app < 60; app += 1) {
        world.desire(`app-${app}`, 1);
        instances.push(of(`app-${app}`, 0));
      }
      world.report('dea', ...instances);
      guard.noteFetch(new Set(world.desired.map(({ app }) => app)));
      await world.becomeFresh();
      world.desired = [];
      guard.noteFetch(new Set());
      await world.tick(3);
      expect(world.stopped).to.eql([]);
      guard.noteFetch(new Set());
      guard.noteFetch(new Set());
      await world.tick();
      expect(world.stopped).to.have.length(60);
    });
  });
}
