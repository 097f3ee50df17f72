import { expect } from 'chai';
import type { Caller } from '../../../support/board/caller.js';
import { Watch } from '../../../support/board/watch.js';

/** docs/protocol/bbs.md §11.2, §11.3 */
export function itTellsEvents(caller: () => Caller): void {
  describe('event streams', () => {
    const streams = ['LRPInstanceEventStream', 'EventStream'] as const;

    async function tell(): Promise<void> {
      await caller().desire('p', { instances: 2 });
      await caller().claim('p', 0, 'i/c1');
      await caller().start('p', 0, 'i/c1');
      await caller().start('p', 1, 'j/c2');
      await caller().crash('p', 0, 'i/c1');
      await caller().removeDesired('p');
    }

    it('tell everything to who asks for everything', async () => {
      const watches = await Promise.all(streams.map((stream) => Watch.open(caller(), stream)));
      await tell();
      const [instances, groups] = await Promise.all(watches.map((watch) => watch.toldBriefly()));
      for (const watch of watches) watch.stop();
      const beginning = [
        ...['desired_lrp_created', 'created UNCLAIMED', 'created UNCLAIMED', 'changed CLAIMED i/c1'],
        ...['changed RUNNING i/c1', 'changed RUNNING j/c2', 'crashed 1'],
      ];
      const end = ['desired_lrp_removed', 'removed UNCLAIMED'];
      expect(instances).to.deep.equal([...beginning, 'created UNCLAIMED', 'removed RUNNING i/c1', ...end]);
      expect(groups).to.deep.equal([...beginning, 'changed UNCLAIMED', ...end]);
    });

    it('tell who asks for a cell of that one, and of what is desired', async () => {
      const watches = await Promise.all(streams.map((stream) => Watch.open(caller(), stream, 'c1')));
      await tell();
      const [instances, groups] = await Promise.all(watches.map((watch) => watch.toldBriefly()));
      for (const watch of watches) watch.stop();
      const beginning = ['desired_lrp_created', 'changed CLAIMED i/c1', 'changed RUNNING i/c1', 'crashed 1'];
      expect(instances).to.deep.equal([...beginning, 'removed RUNNING i/c1', 'desired_lrp_removed']);
      expect(groups).to.deep.equal([...beginning, 'changed UNCLAIMED', 'desired_lrp_removed']);
    });

    it('tell nobody of an instance that another one displaced before it ran', async () => {
      await caller().desire('p');
      await caller().claim('p', 0, 'i/c1');
      const [first, second] = await Promise.all(
        ['c1', 'c2'].map((cellId) => Watch.open(caller(), 'LRPInstanceEventStream', cellId)),
      );
      await caller().start('p', 0, 'j/c2');
      expect([await first!.toldBriefly(), await second!.toldBriefly()]).to.deep.equal([[], ['changed RUNNING j/c2']]);
      first!.stop();
      second!.stop();
    });

    it('come in the order of what happened, to each index', async () => {
      await caller().desire('p', { instances: 20 });
      const watch = await Watch.open(caller(), 'LRPInstanceEventStream');
      const indices = Array.from({ length: 20 }, (_, index) => index);
      await Promise.all(
        indices.flatMap((index) => [
          caller().claim('p', index, `i${index}/c1`),
          caller().start('p', index, `i${index}/c1`),
        ]),
      );
      const events = await watch.told();
      watch.stop();
      const tags = new Map<number, number[]>();
      for (const { message } of events) {
        if (!('actualLrpKey' in message) || !('after' in message)) continue;
        const { index } = message.actualLrpKey;
        tags.set(index, [...(tags.get(index) ?? []), message.after!.modificationTag.index]);
      }
      for (const list of tags.values()) expect(list).to.deep.equal([...list].sort());
      expect([...tags.values()].flat().length).to.be.at.least(20);
    });
  });
}
