import type { ActualLRP, ActualLRPCrashedEvent, ActualLRPInfo, ActualLRPInstanceKey } from '../../messages/models.js';
import type { Change } from '../actual-lrps/outcome.js';
import { states } from '../actual-lrps/rows.js';
import type { InstanceEvent } from './event.js';
import { inToldOrder } from './score.js';

/** What the instance stream tells of one call (docs/protocol/bbs.md §11.3). @param traceId of the request, or empty */
export function instanceEvents(changes: readonly Change[], traceId: string): InstanceEvent[] {
  return inToldOrder(changes.flatMap((change) => eventsOf(change, traceId)));
}

export function crashedEvent(before: ActualLRP, after: ActualLRP): ActualLRPCrashedEvent {
  const { crashCount, crashReason, since, actualLrpKey } = after;
  return { actualLrpKey, actualLrpInstanceKey: before.actualLrpInstanceKey, crashCount, crashReason, since };
}

function eventsOf({ before, after, isCrash = false }: Change, traceId: string): InstanceEvent[] {
  if (!after) return before ? [removed(before, traceId)] : [];
  if (!before) return [created(after, traceId)];
  const crashes: InstanceEvent[] =
    isCrash || after.state === states.crashed
      ? [{ name: 'actual_lrp_crashed', message: crashedEvent(before, after) }]
      : [];
  // An instance ends there, and another begins that nobody has yet.
  const isVacated = after.state === states.unclaimed && before.state !== states.unclaimed;
  if (isVacated) return [...crashes, created(after, traceId), removed(before, traceId)];
  return [...crashes, changed(before, after, traceId)];
}

function created(actualLrp: ActualLRP, traceId: string): InstanceEvent {
  return { name: 'actual_lrp_instance_created', message: { actualLrp, traceId } };
}

function removed(actualLrp: ActualLRP, traceId: string): InstanceEvent {
  return { name: 'actual_lrp_instance_removed', message: { actualLrp, traceId } };
}

function changed(before: ActualLRP, after: ActualLRP, traceId: string): InstanceEvent {
  return {
    name: 'actual_lrp_instance_changed',
    message: {
      actualLrpKey: after.actualLrpKey,
      actualLrpInstanceKey: isEmpty(after.actualLrpInstanceKey)
        ? before.actualLrpInstanceKey
        : after.actualLrpInstanceKey,
      before: infoOf(before),
      after: infoOf(after),
      traceId,
    },
  };
}

function isEmpty({ instanceGuid, cellId }: ActualLRPInstanceKey): boolean {
  return instanceGuid === '' && cellId === '';
}

/** Without internal routes and metric tags. */
function infoOf(row: ActualLRP): ActualLRPInfo {
  return {
    actualLrpNetInfo: row.actualLrpNetInfo,
    crashCount: row.crashCount,
    crashReason: row.crashReason,
    state: row.state,
    placementError: row.placementError,
    since: row.since,
    modificationTag: row.modificationTag,
    presence: row.presence,
    routable: row.routable,
    availabilityZone: row.availabilityZone,
  };
}
