import { expect } from 'chai';
import { type Caller, netInfo, refusal } from '../../../support/board/caller.js';
import { Watch } from '../../../support/board/watch.js';
import { eventually } from '../../../support/eventually.js';

const notFound = 'ResourceNotFound: the requested resource could not be found';

/** docs/protocol/bbs.md §7 */
export function itKeepsActualLrps(caller: () => Caller): void {
  describe('actual LRPs', () => {
    let watch: Watch;

    beforeEach(async () => {
      await caller().desire('p', { instances: 3 });
      watch = await Watch.open(caller(), 'LRPInstanceEventStream');
    });

    afterEach(() => watch.stop());

    it('are listed of one index or of all', async () => {
      const count = async (request: object) => (await caller().call('ActualLRPs', request)).actualLrps.length;
      expect(await count({ processGuid: 'p', index: 0 })).to.equal(1);
      expect(await count({ processGuid: 'p' })).to.equal(3);
      expect(await count({ processGuid: 'p', domain: 'elsewhere' })).to.equal(0);
      const { actualLrps } = await caller().call('ActualLRPsByProcessGuids', { processGuids: ['p', 'p', 'q'] });
      expect(actualLrps).to.have.length(3);
      expect(await refusal(caller().call('ActualLRPsByProcessGuids'))).to.equal(
        'InvalidRequest: process_guids must not be empty',
      );
    });

    it('are claimed by one instance', async () => {
      await caller().claim('p', 0, 'i/c1');
      const claimed = await caller().row('p');
      expect(claimed).to.deep.include({ state: 'CLAIMED', placementError: '' });
      expect(claimed.modificationTag.index).to.equal(1);
      await caller().claim('p', 0, 'i/c1');
      expect(await caller().row('p')).to.deep.equal(claimed);
      expect(await watch.toldBriefly()).to.deep.equal(['changed CLAIMED i/c1']);
      const taken = 'ActualLRPCannotBeClaimed: cannot claim actual LRP';
      expect(await refusal(caller().claim('p', 0, 'j/c1'))).to.equal(taken);
      expect(await refusal(caller().claim('p', 0, 'i/c2'))).to.equal(taken);
      expect(await refusal(caller().claim('p', 9, 'i/c1'))).to.equal(notFound);
    });

    it('are claimed again by the instance that runs', async () => {
      await caller().start('p', 0, 'i/c1');
      await caller().claim('p', 0, 'i/c1');
      const row = await caller().row('p');
      expect([row.state, row.actualLrpNetInfo.address, row.modificationTag.index]).to.deep.equal(['CLAIMED', '', 2]);
    });

    it('are started by whoever comes first, and then by nobody else', async () => {
      await caller().claim('p', 0, 'i/c1');
      await caller().start('p', 0, 'j/c2');
      expect((await caller().brief('p'))[0]).to.equal('RUNNING j/c2');
      expect(await refusal(caller().start('p', 0, 'k/c3'))).to.equal(
        'ActualLRPCannotBeStarted: cannot start actual LRP',
      );
      expect(await watch.toldBriefly()).to.deep.equal(['changed CLAIMED i/c1', 'changed RUNNING j/c2']);
    });

    it('do not change when nothing does', async () => {
      await caller().start('p', 0, 'i/c1');
      const started = await caller().row('p');
      await caller().start('p', 0, 'i/c1');
      expect(await caller().row('p')).to.deep.equal(started);
      expect(await watch.toldBriefly()).to.deep.equal(['changed RUNNING i/c1']);
      await caller().start('p', 0, 'i/c1', { routable: false });
      const changed = await caller().row('p');
      expect([changed.routable, changed.modificationTag.index]).to.deep.equal([
        false,
        started.modificationTag.index + 1,
      ]);
      expect(await watch.toldBriefly()).to.deep.equal(['changed RUNNING i/c1']);
    });

    it('are routable when their rep does not say', async () => {
      await caller().start('p', 0, 'i/c1', { routable: undefined });
      expect((await caller().row('p')).routable).to.equal(true);
    });

    it('have no internal routes from reps of old', async () => {
      const actualLrpInternalRoutes = [{ hostname: 'a.apps.internal' }];
      await caller().call('StartActualLRP_r0', caller().running('p', 0, 'i/c1', { actualLrpInternalRoutes }));
      await caller().start('p', 1, 'j/c1', { actualLrpInternalRoutes });
      expect((await caller().rows('p')).map((row) => row.actualLrpInternalRoutes)).to.deep.equal([
        [],
        actualLrpInternalRoutes,
        [],
      ]);
    });

    it('come back from their rep when the board has lost them', async () => {
      await caller().start('lost', 2, 'i/c1');
      const [row] = await caller().rows('lost');
      expect(row).to.deep.include({ state: 'RUNNING', actualLrpNetInfo: netInfo });
      expect(row!.modificationTag.index).to.equal(0);
      expect(await watch.toldBriefly()).to.deep.equal(['created RUNNING i/c1']);
    });

    it('say why no cell took them, until one does', async () => {
      const fail = (guid: string, index: number, domain = 'd') =>
        caller().call('FailActualLRP', { actualLrpKey: { processGuid: guid, index, domain }, errorMessage: 'no room' });
      await fail('p', 0);
      const failed = await caller().row('p');
      expect([failed.state, failed.placementError, failed.modificationTag.index]).to.deep.equal([
        'UNCLAIMED',
        'no room',
        1,
      ]);
      const [event] = await watch.told();
      expect(event).to.have.property('name', 'actual_lrp_instance_changed');
      expect(event).to.have.nested.property('message.actualLrpInstanceKey.instanceGuid', '');
      await fail('p', 1, 'elsewhere');
      expect((await caller().row('p', 1)).placementError).to.equal('no room');
      await caller().claim('p', 0, 'i/c1');
      expect((await caller().row('p')).placementError).to.equal('');
      expect(await refusal(fail('p', 0))).to.equal('ActualLRPCannotBeFailed: cannot fail actual LRP');
      await fail('nobody', 0);
    });

    it('are removed by their instance, or by anybody', async () => {
      const remove = (index: number, instance?: object) =>
        caller().call('RemoveActualLRP', { processGuid: 'p', index, ...instance });
      const other = { actualLrpInstanceKey: { instanceGuid: 'j', cellId: 'c1' } };
      await caller().start('p', 0, 'i/c1');
      expect(await refusal(remove(0, other))).to.equal(notFound);
      await remove(0, { actualLrpInstanceKey: { instanceGuid: 'i', cellId: 'c1' } });
      await remove(1);
      expect(await refusal(remove(1))).to.equal(notFound);
      expect(await watch.toldBriefly()).to.deep.equal([
        'changed RUNNING i/c1',
        'removed RUNNING i/c1',
        'removed UNCLAIMED',
      ]);
    });

    it('are retired at once where nothing runs, and by their rep where something does', async () => {
      const { rep } = caller().board;
      const retire = (index: number) => caller().call('RetireActualLRP', { actualLrpKey: caller().key('p', index) });
      await retire(0);
      await caller().start('p', 1, 'i/c1');
      await caller().start('p', 2, 'j/nowhere');
      await retire(1);
      await retire(2);
      expect(rep.requests.map(({ method, path }) => `${method} ${path}`)).to.deep.equal([
        'POST /v1/lrps/p/instances/i/stop',
      ]);
      expect(await caller().brief('p')).to.deep.equal(['RUNNING i/c1']);
      expect((await watch.toldBriefly()).filter((event) => event.startsWith('removed'))).to.deep.equal([
        'removed UNCLAIMED',
        'removed RUNNING i/c1',
        'removed RUNNING j/nowhere',
      ]);
      expect(await refusal(retire(0))).to.equal(notFound);
    });

    it('are not retired while their rep does not accept', async () => {
      const { rep } = caller().board;
      await caller().start('p', 0, 'kept/c1');
      await watch.told();
      rep.status = 500;
      try {
        const refused = refusal(caller().call('RetireActualLRP', { actualLrpKey: caller().key('p') }));
        expect(await refused).to.match(/^UnknownError: .*500/);
      } finally {
        rep.status = 202;
      }
      // Others may be those of the spec before, which is told late that its instance is not wanted.
      expect(rep.requests.filter(({ path }) => path.includes('/instances/kept/'))).to.have.length(5);
      expect(await watch.toldBriefly()).to.deep.equal([]);
    });
  });

  describe('actual LRPs that crash', () => {
    it('are restarted twice at once, and then wait', async () => {
      await caller().desire('p');
      const watch = await Watch.open(caller(), 'LRPInstanceEventStream');
      for (const count of [1, 2]) {
        await caller().start('p', 0, `i${count}/c1`);
        await caller().auctioned();
        await caller().crash('p', 0, `i${count}/c1`);
        const row = await caller().row('p');
        expect([row.state, row.crashCount, row.crashReason]).to.deep.equal(['UNCLAIMED', count, 'boom']);
        expect(await caller().auctioned()).to.deep.equal(['p/0']);
      }
      await watch.told();
      await caller().start('p', 0, 'i3/c1');
      await caller().crash('p', 0, 'i3/c1');
      const row = await caller().row('p');
      expect([row.state, row.crashCount]).to.deep.equal(['CRASHED', 3]);
      expect([row.actualLrpInstanceKey.instanceGuid, row.actualLrpNetInfo.address]).to.deep.equal(['', '']);
      expect(await caller().auctioned()).to.deep.equal([]);
      const events = await watch.told();
      watch.stop();
      expect(events.map(({ name }) => name)).to.deep.equal([
        'actual_lrp_instance_changed',
        'actual_lrp_crashed',
        'actual_lrp_instance_changed',
      ]);
      expect(events[1]!.message).to.deep.include({
        ...{ actualLrpInstanceKey: { instanceGuid: 'i3', cellId: 'c1' }, crashCount: 3, crashReason: 'boom' },
        since: row.since,
      });
    });

    it('wait longer from time to time', async () => {
      await caller().desire('p');
      await crashTimes(caller(), 3);
      for (const [count, wait] of [
        [3, 30],
        [4, 60],
        [5, 120],
        [8, 960],
      ] as const) {
        await crashUntil(caller(), count);
        caller().board.advance(wait - 2);
        await caller().board.bbs.converge();
        expect(await caller().brief('p'), `${count}`).to.deep.equal(['CRASHED']);
        caller().board.advance(2);
        await caller().board.bbs.converge();
        expect(await caller().brief('p'), `${count}`).to.deep.equal(['UNCLAIMED']);
        await caller().start('p', 0, 'i/c1');
        await caller().crash('p', 0, 'i/c1');
      }
    });

    it('begin to count again after five minutes', async () => {
      await caller().desire('p');
      await crashTimes(caller(), 2);
      await caller().start('p', 0, 'i/c1');
      caller().board.advance(301);
      await caller().crash('p', 0, 'i/c1');
      expect((await caller().row('p')).crashCount).to.equal(1);
    });

    it('keep the beginning of a long reason', async () => {
      await caller().desire('p');
      await caller().start('p', 0, 'i/c1');
      const watch = await Watch.open(caller(), 'LRPInstanceEventStream');
      await caller().crash('p', 0, 'i/c1', 'x'.repeat(2000));
      expect((await caller().row('p')).crashReason).to.equal(`${'x'.repeat(1013)}(truncated)`);
      const [event] = await watch.told();
      watch.stop();
      expect(event).to.have.nested.property('message.crashReason').with.length(2000);
    });

    it('are refused where nothing can crash', async () => {
      await caller().desire('p');
      const cannot = 'ActualLRPCannotBeCrashed: cannot crash actual LRP';
      expect(await refusal(caller().crash('p', 0, 'i/c1'))).to.equal(cannot);
      await caller().start('p', 0, 'i/c1');
      expect(await refusal(caller().crash('p', 0, 'j/c1'))).to.equal(cannot);
      expect(await refusal(caller().crash('p', 1, 'i/c1'))).to.equal(notFound);
    });

    it('ask for their restart under the request that told of them', async () => {
      const { auctioneer } = caller().board;
      await caller().desire('p');
      await caller().start('p', 0, 'i/c1');
      await caller().auctions();
      await caller().call('CrashActualLRP', caller().instance('p', 0, 'i/c1'), { requestId: 'trace' });
      const [request] = await eventually(() => (auctioneer.requests.length > 0 ? auctioneer.requests : undefined));
      expect(request!.headers['x-vcap-request-id']).to.equal('trace');
    });
  });
}

async function crashTimes(caller: Caller, count: number): Promise<void> {
  for (let crash = 0; crash < count; crash += 1) {
    await caller.start('p', 0, 'i/c1');
    await caller.crash('p', 0, 'i/c1');
  }
}

/** From CRASHED on, each restart waits for its time. */
async function crashUntil(caller: Caller, count: number): Promise<void> {
  while ((await caller.row('p')).crashCount < count) {
    caller.board.advance(961);
    await caller.board.bbs.converge();
    await crashTimes(caller, 1);
  }
}
