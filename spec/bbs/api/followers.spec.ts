import { expect } from 'chai';
import fc from 'fast-check';
import type { BbsEvent } from '../../../lib/bbs/decisions/events/event.js';
import { isSameTag } from '../../../lib/bbs/decisions/modification-tag.js';
import {
  type ActualLRP,
  type ActualLRPGroup,
  type ActualLRPInfo,
  type ActualLRPInstanceKey,
  type ActualLRPKey,
  ActualLRPPresence,
} from '../../../lib/bbs/messages/models.js';
import { startBbs } from '../../support/bbs.js';
import { Caller, type Instance } from '../../support/board/caller.js';
import { Watch } from '../../support/board/watch.js';

/** What followers compare with lists. */
type Known = Pick<ActualLRPInfo, 'state' | 'presence' | 'modificationTag'> & { instance: string };

const indices = [0, 1, 2];
const instances: Instance[] = ['i/c1', 'j/c2', 'k/c3'];

type Step = [name: keyof typeof steps, index: number, instance: Instance];

/** Whatever reps, the auctioneer and a Cloud Controller may say, in any order; what is refused is refused. */
const steps = {
  start: (caller, index, instance) => caller.start('p', index, instance),
  startUnroutable: (caller, index, instance) => caller.start('p', index, instance, { routable: false }),
  claim: (caller, index, instance) => caller.claim('p', index, instance),
  crash: (caller, index, instance) => caller.crash('p', index, instance),
  async crashLoop(caller, index, instance) {
    for (let count = 0; count < 3; count += 1) {
      await caller.start('p', index, instance);
      await caller.crash('p', index, instance);
    }
  },
  fail: (caller, index) => caller.call('FailActualLRP', { actualLrpKey: caller.key('p', index), errorMessage: 'full' }),
  remove: (caller, index, instance) =>
    caller.call('RemoveActualLRP', {
      ...{ processGuid: 'p', index },
      actualLrpInstanceKey: caller.instance('p', index, instance).actualLrpInstanceKey,
    }),
  evacuateRunning: (caller, index, instance) => caller.evacuateRunning('p', index, instance),
  evacuateUnroutable: (caller, index, instance) => caller.evacuateRunning('p', index, instance, { routable: false }),
  evacuateClaimed: (caller, index, instance) =>
    caller.call('EvacuateClaimedActualLRP', caller.instance('p', index, instance)),
  evacuateCrashed: (caller, index, instance) =>
    caller.call('EvacuateCrashedActualLRP', { ...caller.instance('p', index, instance), errorMessage: 'boom' }),
  evacuateStopped: (caller, index, instance) =>
    caller.call('EvacuateStoppedActualLRP', caller.instance('p', index, instance)),
  removeEvacuating: (caller, index, instance) =>
    caller.call('RemoveEvacuatingActualLRP', caller.instance('p', index, instance)),
  scale: (caller, index) => caller.update('p', { instances: index + 1 }),
  undesire: (caller) => caller.removeDesired('p'),
  desire: (caller, index) => caller.desire('p', { instances: index + 1 }),
  addCell: (caller, _index, instance) => caller.board.addCell(instance.slice(2)),
  removeCell: (caller, _index, instance) => caller.board.removeCell(instance.slice(2)),
  converge: (caller) => caller.board.bbs.converge(),
  convergeLater: (caller) => {
    caller.board.advance(40);
    return caller.board.bbs.converge();
  },
} satisfies Record<string, (caller: Caller, index: number, instance: Instance) => Promise<unknown>>;

const names = Object.keys(steps) as (keyof typeof steps)[];
const walks = fc.array(
  fc.tuple(
    fc.oneof(
      { weight: 1, arbitrary: fc.constantFrom(...names) },
      { weight: 1, arbitrary: fc.constant('start' as const) },
    ),
    fc.constantFrom(...indices),
    fc.constantFrom(...instances),
  ),
  { minLength: 20, maxLength: 60 },
);

/** docs/protocol/bbs.md §11: who follows events knows what a list would say. */
describe('who follows events', () => {
  let caller: Caller;

  before(async () => {
    caller = new Caller(await startBbs());
    // One cell stays: without any, nobody would be lost in the beginning.
    await caller.board.addCell('c0');
  });

  after(() => caller.board.stop());

  async function walk(list: Step[]): Promise<void> {
    const watches = await Promise.all([
      Watch.open(caller, 'LRPInstanceEventStream'),
      Watch.open(caller, 'EventStream'),
    ]);
    try {
      await caller.desire('p', { instances: 2 });
      for (const [name, index, instance] of list) await steps[name](caller, index, instance).catch(refusedOnly);
      const [told, toldOfGroups] = await Promise.all(watches.map((watch) => watch.told()));
      const { actualLrps } = await caller.call('ActualLRPs', { processGuid: 'p' });
      for (const row of actualLrps) expectInvariants(row);
      const places = actualLrps.map(({ actualLrpKey, presence }) => placeOf(actualLrpKey, presence));
      expect(new Set(places).size).to.equal(places.length);
      expect(inOrder(follow(told!))).to.deep.equal(
        inOrder(new Map(actualLrps.map((row) => [placeOf(row.actualLrpKey, row.presence), knownOf(row)]))),
      );
      const { actualLrpGroups } = await caller.call('ActualLRPGroupsByProcessGuid', { processGuid: 'p' });
      expect(inOrder(followGroups(toldOfGroups!))).to.deep.equal(inOrder(new Map(actualLrpGroups.flatMap(slotsOf))));
    } finally {
      for (const watch of watches) watch.stop();
      for (const instance of instances) await caller.board.removeCell(instance.slice(2)).catch(() => {});
      await caller.clear();
    }
  }

  it('knows all instances and groups, whatever has happened', async () => {
    const runs = Number(process.env.CHAOS_ROUNDS ?? 15);
    await fc.assert(fc.asyncProperty(walks, walk), {
      numRuns: runs,
      endOnFailure: process.env.CHAOS_ROUNDS === undefined,
    });
  }).timeout(600_000);
});

/** docs/protocol/bbs.md §7 */
function expectInvariants({ state, presence, actualLrpInstanceKey, actualLrpNetInfo }: ActualLRP): void {
  const hasInstance = actualLrpInstanceKey.instanceGuid !== '' && actualLrpInstanceKey.cellId !== '';
  expect(hasInstance, state).to.equal(!isFree(state));
  expect(actualLrpNetInfo.address !== '', state).to.equal(state === 'RUNNING');
  if (presence !== ActualLRPPresence.ORDINARY) expect(state).to.be.oneOf(['CLAIMED', 'RUNNING']);
}

function refusedOnly(error: Error): void {
  if (error.name !== 'ApplicationError') throw error;
}

/** Rows by index and presence, from events alone. */
function follow(events: BbsEvent[]): Map<string, Known> {
  const rows = new Map<string, Known>();
  for (const { name, message } of events) {
    if (name === 'actual_lrp_instance_created') {
      const row = message.actualLrp!;
      rows.set(placeOf(row.actualLrpKey, row.presence), knownOf(row));
    } else if (name === 'actual_lrp_instance_removed') {
      removeKnown(rows, placeOf(message.actualLrp!.actualLrpKey, message.actualLrp!.presence), message.actualLrp!);
    } else if (name === 'actual_lrp_instance_changed') {
      const { actualLrpKey, actualLrpInstanceKey, before, after } = message;
      rows.delete(placeOf(actualLrpKey, before!.presence));
      rows.set(placeOf(actualLrpKey, after!.presence), knownOf({ ...after!, actualLrpInstanceKey }));
    }
  }
  return rows;
}

/** Slots of groups, from events alone. */
function followGroups(events: BbsEvent[]): Map<string, Known> {
  const slots = new Map<string, Known>();
  for (const { name, message } of events) {
    if (name === 'actual_lrp_created')
      for (const [slot, known] of slotsOf(message.actualLrpGroup!)) slots.set(slot, known);
    if (name === 'actual_lrp_changed') for (const [slot, known] of slotsOf(message.after!)) slots.set(slot, known);
    if (name === 'actual_lrp_removed') {
      const { instance, evacuating } = message.actualLrpGroup!;
      if (instance) removeKnown(slots, slotOf('instance', instance), instance);
      if (evacuating) removeKnown(slots, slotOf('evacuating', evacuating), evacuating);
    }
  }
  return slots;
}

/** Who has taken the place meanwhile stays, which is seen by the tag: of nobody's rows only that differs. */
function removeKnown(rows: Map<string, Known>, place: string, row: ActualLRP): void {
  const known = rows.get(place);
  const isIts = known?.instance === knownOf(row).instance && isSameTag(known.modificationTag, row.modificationTag);
  if (isIts) rows.delete(place);
}

function slotsOf({ instance, evacuating }: ActualLRPGroup): [string, Known][] {
  return [
    ...(instance ? [[slotOf('instance', instance), knownOf(instance)] as [string, Known]] : []),
    ...(evacuating ? [[slotOf('evacuating', evacuating), knownOf(evacuating)] as [string, Known]] : []),
  ];
}

function slotOf(slot: string, { actualLrpKey }: ActualLRP): string {
  return `${actualLrpKey.processGuid}/${actualLrpKey.index} ${slot}`;
}

function placeOf({ processGuid, index }: ActualLRPKey, presence: ActualLRPPresence): string {
  return `${processGuid}/${index} ${presence}`;
}

function knownOf({
  state,
  presence,
  modificationTag,
  actualLrpInstanceKey,
}: Pick<ActualLRP, 'state' | 'presence' | 'modificationTag' | 'actualLrpInstanceKey'>): Known {
  return { state, presence, modificationTag, instance: isFree(state) ? '/' : instanceOf(actualLrpInstanceKey) };
}

/** Then an event may name the instance that was there before. */
function isFree(state: string): boolean {
  return state === 'UNCLAIMED' || state === 'CRASHED';
}

function instanceOf({ instanceGuid, cellId }: ActualLRPInstanceKey): string {
  return `${instanceGuid}/${cellId}`;
}

function inOrder(rows: Map<string, Known>): [string, Known][] {
  return [...rows].sort(([a], [b]) => (a < b ? -1 : 1));
}
