import { expect } from 'chai';
import { ProtoRoutes } from '../../../../lib/bbs/messages/models.js';
import type { Caller } from '../../../support/board/caller.js';
import { Watch } from '../../../support/board/watch.js';

/** docs/protocol/bbs.md §12.1, §12.2 */
export function itConverges(caller: () => Caller): void {
  const converge = () => caller().board.bbs.converge();
  const repRequests = () => caller().board.rep.requests.map(({ method, path }) => `${method} ${path}`);

  describe('convergence', () => {
    /** Everything else in the domain is gone, so nothing but what a spec wants is retired. */
    const refresh = (ttl: number) => caller().call('UpsertDomain', { domain: 'd', ttl });

    beforeEach(async () => {
      await refresh(1);
      caller().board.advance(2);
    });

    it('brings missing instances back, whether the domain is fresh or not', async () => {
      await caller().desire('p', { instances: 2 });
      await caller().call('RemoveActualLRP', { processGuid: 'p', index: 1 });
      await caller().auctions();
      await converge();
      expect(await caller().brief('p')).to.deep.equal(['UNCLAIMED', 'UNCLAIMED']);
      expect(await caller().auctioned()).to.deep.equal(['p/1']);
    });

    it('asks the auctioneer again for what has waited for long', async () => {
      await caller().desire('p');
      await caller().auctions();
      await converge();
      expect(await caller().auctioned()).to.deep.equal([]);
      caller().board.advance(31);
      await converge();
      expect(await caller().auctioned()).to.deep.equal(['p/0']);
    });

    it('retires what is too much and what nobody desires, in a fresh domain', async () => {
      await caller().desire('p');
      await caller().start('p', 5, 'i/c1');
      await caller().start('orphan', 0, 'j/c1');
      await converge();
      expect(repRequests()).to.deep.equal([]);
      await refresh(0);
      const watch = await Watch.open(caller(), 'LRPInstanceEventStream');
      await converge();
      expect(repRequests().sort()).to.deep.equal([
        'POST /v1/lrps/orphan/instances/j/stop',
        'POST /v1/lrps/p/instances/i/stop',
      ]);
      await converge();
      expect((await watch.toldBriefly()).sort()).to.deep.equal(['removed RUNNING i/c1', 'removed RUNNING j/c1']);
      watch.stop();
      expect(await caller().brief('p')).to.deep.equal(['UNCLAIMED', 'RUNNING i/c1']);
    });

    it('does not take an index too many for one that is missing', async () => {
      await caller().desire('p', { instances: 2 });
      await caller().call('RemoveActualLRP', { processGuid: 'p', index: 1 });
      await caller().start('p', 5, 'i/c1');
      await converge();
      expect(await caller().brief('p')).to.deep.equal(['UNCLAIMED', 'UNCLAIMED', 'RUNNING i/c1']);
    });

    it('tells reps what they do not know yet', async () => {
      const value = Buffer.from('[{"hostname":"a.apps.internal"}]');
      await caller().desire('p', { routes: ProtoRoutes.create({ routes: new Map([['internal-router', value]]) }) });
      await caller().start('p', 0, 'i/c1');
      await converge();
      const [request] = caller().board.rep.requests;
      expect(request).to.deep.include({ method: 'PUT', path: '/v2/lrps/p/instances/i' });
      expect(request!.body).to.deep.include({ internal_routes: [{ hostname: 'a.apps.internal' }], metric_tags: null });
      await caller().start('p', 0, 'i/c1', { actualLrpInternalRoutes: [{ hostname: 'a.apps.internal' }] });
      await converge();
      expect(caller().board.rep.requests).to.have.length(1);
    });
  });

  describe('an instance whose cell is gone', () => {
    let watch: Watch;

    beforeEach(async () => {
      await caller().board.addCell('leaving');
      await caller().desire('p');
      await caller().start('p', 0, 'i/leaving');
      await caller().auctions();
      watch = await Watch.open(caller(), 'LRPInstanceEventStream');
    });

    afterEach(async () => {
      watch.stop();
      await caller().board.removeCell('leaving');
    });

    async function lose(): Promise<void> {
      await caller().board.removeCell('leaving');
      await converge();
    }

    it('is suspect, and another one is asked for', async () => {
      const before = await caller().row('p');
      await converge();
      expect(await caller().row('p')).to.deep.equal(before);
      await lose();
      const [replacement, suspect] = await caller().rows('p');
      expect(await caller().brief('p')).to.deep.equal(['UNCLAIMED', 'suspect RUNNING i/leaving']);
      expect(suspect).to.deep.equal({ ...before, presence: suspect!.presence });
      expect(replacement!.modificationTag.epoch).not.to.equal(before.modificationTag.epoch);
      expect(await caller().auctioned()).to.deep.equal(['p/0']);
      expect(await watch.toldBriefly()).to.deep.equal(['changed suspect RUNNING i/leaving', 'created UNCLAIMED']);
    });

    it('goes on when the cell comes back', async () => {
      await lose();
      await watch.told();
      await caller().board.addCell('leaving');
      await converge();
      expect(await caller().brief('p')).to.deep.equal(['RUNNING i/leaving']);
      expect(await watch.toldBriefly()).to.deep.equal(['changed RUNNING i/leaving', 'removed UNCLAIMED']);
    });

    it('goes when its replacement runs', async () => {
      await lose();
      await watch.told();
      await caller().start('p', 0, 'j/c1');
      expect(await caller().brief('p')).to.deep.equal(['RUNNING j/c1']);
      expect(await watch.toldBriefly()).to.deep.equal(['changed RUNNING j/c1', 'removed suspect RUNNING i/leaving']);
    });

    it('says nothing that counts any more, but that it has ended', async () => {
      await lose();
      await watch.told();
      await caller().claim('p', 0, 'i/leaving');
      await caller().start('p', 0, 'i/leaving', { routable: false });
      expect(await watch.told()).to.deep.equal([]);
      await caller().crash('p', 0, 'i/leaving');
      expect(await caller().brief('p')).to.deep.equal(['UNCLAIMED']);
      expect(await watch.toldBriefly()).to.deep.equal(['removed suspect RUNNING i/leaving']);
    });

    it('gets another replacement at once when that one is lost too', async () => {
      await lose();
      await caller().claim('p', 0, 'j/nowhere');
      await caller().auctions();
      await converge();
      expect(await caller().brief('p')).to.deep.equal(['UNCLAIMED', 'suspect RUNNING i/leaving']);
      expect(await caller().auctioned()).to.deep.equal(['p/0']);
    });

    it('is shown to old clients until its replacement runs', async () => {
      await lose();
      const group = async () => {
        const request = { processGuid: 'p', index: 0 };
        const { actualLrpGroup } = await caller().call('ActualLRPGroupsByProcessGuidAndIndex', request);
        return actualLrpGroup?.instance?.actualLrpInstanceKey.instanceGuid;
      };
      expect(await group()).to.equal('i');
      await caller().claim('p', 0, 'j/c1');
      expect(await group()).to.equal('i');
      await caller().start('p', 0, 'j/c1');
      expect(await group()).to.equal('j');
    });

    it('goes at once when it was evacuating', async () => {
      await caller().evacuateRunning('p', 0, 'i/leaving');
      await watch.told();
      await lose();
      expect(await caller().brief('p')).to.deep.equal(['UNCLAIMED']);
      expect(await watch.toldBriefly()).to.deep.equal(['removed evacuating RUNNING i/leaving']);
    });
  });
}
