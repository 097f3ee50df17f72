import { expect } from 'chai';
import { DesiredLRPUpdateStrategy } from '../../../../lib/bbs/messages/models.js';
import { type Caller, refusal, refusedKeep } from '../../../support/board/caller.js';
import { Watch } from '../../../support/board/watch.js';

const notFound = 'ResourceNotFound: the requested resource could not be found';

/** docs/protocol/bbs.md §8 */
export function itEvacuates(caller: () => Caller): void {
  const evacuate = async (...args: Parameters<Caller['evacuateRunning']>) =>
    (await caller().evacuateRunning(...args)).keepContainer;

  describe('an instance that is evacuated', () => {
    let instances: Watch;
    let groups: Watch;

    beforeEach(async () => {
      await caller().desire('p');
      await caller().start('p', 0, 'i/c1');
      await caller().auctions();
      instances = await Watch.open(caller(), 'LRPInstanceEventStream');
      groups = await Watch.open(caller(), 'EventStream');
    });

    afterEach(() => {
      instances.stop();
      groups.stop();
    });

    it('runs on until its replacement does', async () => {
      expect(await evacuate('p', 0, 'i/c1')).to.equal(true);
      expect(await caller().brief('p')).to.deep.equal(['UNCLAIMED', 'evacuating RUNNING i/c1']);
      expect(await caller().auctioned()).to.deep.equal(['p/0']);
      const rows = await caller().rows('p');
      expect(await evacuate('p', 0, 'i/c1')).to.equal(true);
      expect(await caller().rows('p')).to.deep.equal(rows);
      expect(await caller().auctioned()).to.deep.equal([]);
      expect(await instances.toldBriefly()).to.deep.equal(['changed evacuating RUNNING i/c1', 'created UNCLAIMED']);
      expect(await groups.toldBriefly()).to.deep.equal(['created evacuating RUNNING i/c1', 'changed UNCLAIMED']);

      await caller().start('p', 0, 'j/c2');
      expect(await caller().brief('p')).to.deep.equal(['RUNNING j/c2']);
      expect(await instances.toldBriefly()).to.deep.equal(['changed RUNNING j/c2', 'removed evacuating RUNNING i/c1']);
      expect(await groups.toldBriefly()).to.deep.equal(['changed RUNNING j/c2', 'removed evacuating RUNNING i/c1']);
      expect(await evacuate('p', 0, 'i/c1')).to.equal(false);
    });

    it('may tell more of itself', async () => {
      await evacuate('p', 0, 'i/c1');
      await instances.told();
      expect(await evacuate('p', 0, 'i/c1', { routable: false, availabilityZone: 'z2' })).to.equal(true);
      const evacuating = (await caller().rows('p'))[1]!;
      expect([evacuating.routable, evacuating.availabilityZone]).to.deep.equal([false, 'z2']);
      expect(evacuating.modificationTag.index).to.equal(1);
      expect(await instances.toldBriefly()).to.deep.equal(['changed evacuating RUNNING i/c1']);
    });

    it('goes when nobody desires it any more', async () => {
      await evacuate('p', 0, 'i/c1');
      await caller().removeDesired('p');
      expect(await evacuate('p', 0, 'i/c1')).to.equal(false);
      expect(await caller().brief('p')).to.deep.equal([]);
      expect(await evacuate('nobody', 0, 'i/c1')).to.equal(false);
    });

    it('is removed when its rep says so, and only when it is evacuating', async () => {
      const remove = (instance: 'i/c1' | 'j/c1') =>
        caller().call('RemoveEvacuatingActualLRP', caller().instance('p', 0, instance));
      expect(await refusal(remove('i/c1'))).to.equal(notFound);
      await evacuate('p', 0, 'i/c1');
      expect(await refusal(remove('j/c1'))).to.equal(notFound);
      await remove('i/c1');
      expect(await caller().brief('p')).to.deep.equal(['UNCLAIMED']);
    });

    it('is auctioned when it was only claimed', async () => {
      await caller().claim('p', 0, 'i/c1');
      const request = caller().instance('p', 0, 'i/c1');
      const { keepContainer } = await caller().call('EvacuateClaimedActualLRP', request);
      expect(keepContainer).to.equal(false);
      expect(await caller().brief('p')).to.deep.equal(['UNCLAIMED']);
      expect(await caller().auctioned()).to.deep.equal(['p/0']);
      expect(await refusal(caller().call('EvacuateClaimedActualLRP', request))).to.equal(notFound);
    });

    it('is counted when it crashed, and left for convergence', async () => {
      const request = { ...caller().instance('p', 0, 'i/c1'), errorMessage: 'boom' };
      expect((await caller().call('EvacuateCrashedActualLRP', request)).keepContainer).to.equal(false);
      const row = await caller().row('p');
      expect([row.state, row.crashCount, row.crashReason]).to.deep.equal(['UNCLAIMED', 1, 'boom']);
      expect(await caller().auctioned()).to.deep.equal([]);
      expect(await instances.toldBriefly()).to.deep.equal(['created UNCLAIMED', 'removed RUNNING i/c1']);
    });

    it('goes when it stopped', async () => {
      const request = caller().instance('p', 0, 'i/c1');
      await caller().call('EvacuateStoppedActualLRP', request);
      expect(await caller().brief('p')).to.deep.equal([]);
      const again = caller().call('EvacuateStoppedActualLRP', request);
      expect(await refusal(again)).to.equal(notFound);
      expect(await refusedKeep(again)).to.equal(false);
    });

    it('is kept or dropped by kind when the request is not valid', async () => {
      const invalid = { actualLrpKey: caller().key('p') };
      const calls = {
        EvacuateClaimedActualLRP: true,
        EvacuateRunningActualLRP: true,
        EvacuateCrashedActualLRP: false,
        EvacuateStoppedActualLRP: false,
      } as const;
      for (const [name, isKept] of Object.entries(calls)) {
        const call = caller().call(name as keyof typeof calls, invalid);
        expect(await refusal(call)).to.match(/^InvalidRequest: Invalid field: actual_lrp_instance_key/);
        expect([name, await refusedKeep(call)]).to.deep.equal([name, isKept]);
      }
    });
  });

  it('evacuates one instance after the other where they are to be recreated', async () => {
    await caller().desire('p', { instances: 2, updateStrategy: DesiredLRPUpdateStrategy.RECREATE });
    await caller().start('p', 0, 'i/c1');
    expect(await evacuate('p', 0, 'i/c1')).to.equal(true);
    expect(await caller().brief('p')).to.deep.equal(['RUNNING i/c1', 'UNCLAIMED']);
    await caller().start('p', 1, 'j/c1');
    expect(await evacuate('p', 0, 'i/c1')).to.equal(false);
    expect(await evacuate('p', 1, 'j/c1')).to.equal(true);
    expect(await caller().brief('p')).to.deep.equal(['UNCLAIMED', 'RUNNING j/c1']);
  });
}
