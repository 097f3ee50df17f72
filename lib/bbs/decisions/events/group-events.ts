import { type ActualLRP, ActualLRPGroup } from '../../messages/models.js';
import type { Change } from '../actual-lrps/outcome.js';
import { isSameInstance, type Rows, states } from '../actual-lrps/rows.js';
import type { GroupEvent } from './event.js';
import { crashedEvent } from './instance-events.js';
import { inToldOrder } from './score.js';

type Slot = 'instance' | 'evacuating';

/**
 * The rows of one index as old clients see them (docs/protocol/bbs.md §7.2): of ordinary and suspect the suspect one,
 * unless the ordinary one runs.
 *
 * @returns undefined when there is none
 */
export function groupOf(rows: Rows): ActualLRPGroup | undefined {
  const instance = shownInstance(rows);
  const { evacuating } = rows;
  return instance || evacuating ? ActualLRPGroup.create({ instance, evacuating }) : undefined;
}

/** What the deprecated group stream tells of one call (docs/protocol/bbs.md §11.3). */
export function groupEvents(before: Rows, after: Rows, changes: readonly Change[]): GroupEvent[] {
  const told = asTold(after, changes);
  const isCrash = changes.some((change) => change.isCrash);
  return inToldOrder([
    ...slotEvents('instance', shownInstance(before), shownInstance(told), isCrash),
    ...slotEvents('evacuating', before.evacuating, told.evacuating, false),
  ]);
}

function shownInstance({ ordinary, suspect }: Rows): ActualLRP | undefined {
  return ordinary?.state === states.running ? ordinary : (suspect ?? ordinary);
}

/** Stored reasons are cut, told ones are not; and an instance that is told to stop is told gone before its row goes. */
function asTold(rows: Rows, changes: readonly Change[]): Rows {
  const isGone = (row: ActualLRP) => changes.some(({ before, after }) => before === row && !after);
  const tell = (row: ActualLRP | undefined) => {
    if (!row || isGone(row)) return undefined;
    return changes.find(({ after }) => after?.presence === row.presence)?.after ?? row;
  };
  return { ordinary: tell(rows.ordinary), evacuating: tell(rows.evacuating), suspect: tell(rows.suspect) };
}

function slotEvents(
  slot: Slot,
  before: ActualLRP | undefined,
  after: ActualLRP | undefined,
  isCrash: boolean,
): GroupEvent[] {
  if (before === after) return [];
  if (!after) return before ? [removed(slot, before)] : [];
  if (!before) return [created(slot, after)];
  // Whoever loses its instance is only changed here.
  if (isOther(before, after)) return [created(slot, after), removed(slot, before)];
  const crashes: GroupEvent[] =
    isCrash || after.state === states.crashed
      ? [{ name: 'actual_lrp_crashed', message: crashedEvent(before, after) }]
      : [];
  return [
    ...crashes,
    { name: 'actual_lrp_changed', message: { before: group(slot, before), after: group(slot, after) } },
  ];
}

/** Whether another instance has taken the slot. */
function isOther(before: ActualLRP, after: ActualLRP): boolean {
  if (after.state === states.unclaimed || after.state === states.crashed) return false;
  const wasFree = before.actualLrpInstanceKey.instanceGuid === '' && before.actualLrpInstanceKey.cellId === '';
  return !wasFree && !isSameInstance(before.actualLrpInstanceKey, after.actualLrpInstanceKey);
}

function created(slot: Slot, row: ActualLRP): GroupEvent {
  return { name: 'actual_lrp_created', message: { actualLrpGroup: group(slot, row) } };
}

function removed(slot: Slot, row: ActualLRP): GroupEvent {
  return { name: 'actual_lrp_removed', message: { actualLrpGroup: group(slot, row) } };
}

function group(slot: Slot, row: ActualLRP): ActualLRPGroup {
  return ActualLRPGroup.create({ [slot]: row });
}
