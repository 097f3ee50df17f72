import {
  cannotBeClaimed,
  cannotBeCrashed,
  cannotBeFailed,
  cannotBeStarted,
  cannotBeUnclaimed,
  resourceNotFound,
} from '../../errors.js';
import {
  ActualLRP,
  ActualLRPInstanceKey,
  type ActualLRPInternalRoute,
  type ActualLRPKey,
  ActualLRPNetInfo,
} from '../../messages/models.js';
import { firstTag, nextTag } from '../modification-tag.js';
import type { Moment } from '../moment.js';
import { storedText } from '../stored-text.js';
import { andThen, changed, type Outcome, refused, removed, replaced, unchanged } from './outcome.js';
import { isRestartedAtOnce, nextCrashCount } from './restart-policy.js';
import { findInstance, isOccupied, isSameInstance, isSameKey, type Rows, states } from './rows.js';
import { isSameNetInfo, isSameRoutes, isSameTags } from './sameness.js';

/**
 * The calls about one actual LRP (docs/protocol/bbs.md §7). Each takes the rows of the index and says what they become.
 *
 *                claim                start
 *   UNCLAIMED ------------> CLAIMED ---------> RUNNING      (a start may come without a claim, and by any instance)
 *     ^    ^                   |                  |
 *     |    '------ crash (1, 2), unclaim ---------'
 *     |                        |                  |
 *     '--- restart --- CRASHED <--- crash (3...) -'
 */

/** One instance of one index, and all that its rep knows of it. */
export interface RunningInstance {
  key: ActualLRPKey;
  instanceKey: ActualLRPInstanceKey;
  netInfo: ActualLRPNetInfo;
  internalRoutes: readonly ActualLRPInternalRoute[];
  metricTags: ReadonlyMap<string, string>;
  /** Reps of before 2023 do not say: true. */
  routable: boolean;
  availabilityZone: string;
}

/** An instance takes the index for itself. */
export function claim(rows: Rows, instanceKey: ActualLRPInstanceKey, { now }: Pick<Moment, 'now'>): Outcome {
  if (findInstance(rows, instanceKey) === 'suspect') return unchanged(rows);
  const { ordinary } = rows;
  if (!ordinary) return refused(rows, resourceNotFound);
  const isFree = ordinary.state === states.unclaimed;
  if (!isFree && !isSameInstance(ordinary.actualLrpInstanceKey, instanceKey)) return refused(rows, cannotBeClaimed);
  if (ordinary.state === states.claimed) return unchanged(rows);
  return replaced(rows, {
    ...ordinary,
    actualLrpInstanceKey: instanceKey,
    actualLrpNetInfo: ActualLRPNetInfo.create(),
    state: states.claimed,
    placementError: '',
    since: now,
    modificationTag: nextTag(ordinary.modificationTag),
  });
}

/**
 * An instance runs. Reps say so of every instance again and again: what changes nothing is the common case. What ran in
 * its place meanwhile, evacuating or suspect, is not needed any more.
 */
export function start(rows: Rows, instance: RunningInstance, moment: Moment): Outcome {
  if (findInstance(rows, instance.instanceKey) === 'suspect') return unchanged(rows);
  const begun = startOrdinary(rows, instance, moment);
  return andThen(
    andThen(begun, (after) => removed(after, 'evacuating')),
    (after) => removed(after, 'suspect'),
  );
}

function startOrdinary(rows: Rows, instance: RunningInstance, { now, newEpoch }: Moment): Outcome {
  const { ordinary } = rows;
  if (!ordinary) {
    // This is how a rep brings back what the board lost.
    const fresh = ActualLRP.create({ modificationTag: firstTag(newEpoch()), since: now });
    return replaced(rows, running(fresh, instance));
  }
  if (isUnchanged(ordinary, instance)) return unchanged(rows);
  if (!mayStart(ordinary, instance)) return refused(rows, cannotBeStarted);
  const modificationTag = nextTag(ordinary.modificationTag);
  return replaced(rows, running({ ...ordinary, since: now, modificationTag }, instance));
}

/** The row with all that is known of an instance that runs. */
export function running(row: ActualLRP, instance: RunningInstance): ActualLRP {
  return {
    ...row,
    actualLrpKey: instance.key,
    actualLrpInstanceKey: instance.instanceKey,
    actualLrpNetInfo: instance.netInfo,
    actualLrpInternalRoutes: instance.internalRoutes,
    metricTags: instance.metricTags,
    routable: instance.routable,
    availabilityZone: instance.availabilityZone,
    state: states.running,
    placementError: '',
  };
}

/** Whether the row says already that this instance runs, with all of this. */
export function isUnchanged(row: ActualLRP, instance: RunningInstance): boolean {
  return (
    row.state === states.running &&
    isSameKey(row.actualLrpKey, instance.key) &&
    isSameInstance(row.actualLrpInstanceKey, instance.instanceKey) &&
    row.routable === instance.routable &&
    row.availabilityZone === instance.availabilityZone &&
    isSameNetInfo(row.actualLrpNetInfo, instance.netInfo) &&
    isSameRoutes(row.actualLrpInternalRoutes, instance.internalRoutes) &&
    isSameTags(row.metricTags, instance.metricTags)
  );
}

function mayStart(row: ActualLRP, { key, instanceKey }: RunningInstance): boolean {
  if (!isSameKey(row.actualLrpKey, key)) return false;
  if (row.state === states.unclaimed || row.state === states.claimed) return true;
  return isSameInstance(row.actualLrpInstanceKey, instanceKey);
}

/** An instance ended by itself. @param reason may be empty */
export function crash(
  rows: Rows,
  crashed: { key: ActualLRPKey; instanceKey: ActualLRPInstanceKey; reason: string },
  moment: Pick<Moment, 'now'>,
): Outcome {
  // Its replacement is under way already.
  if (findInstance(rows, crashed.instanceKey) === 'suspect') return removed(rows, 'suspect');
  const { ordinary } = rows;
  if (!ordinary) return refused(rows, resourceNotFound);
  const isIts = isSameInstance(ordinary.actualLrpInstanceKey, crashed.instanceKey);
  if (!isOccupied(ordinary) || !isIts || !isSameKey(ordinary.actualLrpKey, crashed.key)) {
    return refused(rows, cannotBeCrashed);
  }
  return crashOrdinary(rows, ordinary, crashed.reason, moment);
}

function crashOrdinary(rows: Rows, ordinary: ActualLRP, reason: string, { now }: Pick<Moment, 'now'>): Outcome {
  const { crashCount, since, state } = ordinary;
  const count = nextCrashCount({ crashCount, since, now, wasRunning: state === states.running });
  const isRestarted = isRestartedAtOnce(count);
  const told: ActualLRP = {
    ...vacated(ordinary, now),
    state: isRestarted ? states.unclaimed : states.crashed,
    crashCount: count,
    crashReason: reason,
  };
  const after = { ...rows, ordinary: { ...told, crashReason: storedText(reason) } };
  return changed(after, [{ before: ordinary, after: told, isCrash: true }], { isStartWanted: isRestarted });
}

/** No cell took it. The domain of the key does not matter, and an index that is not there is no error. */
export function fail(rows: Rows, placementError: string, { now }: Pick<Moment, 'now'>): Outcome {
  const { ordinary } = rows;
  if (!ordinary) return unchanged(rows);
  if (ordinary.state !== states.unclaimed) return refused(rows, cannotBeFailed);
  const told = { ...ordinary, placementError, since: now, modificationTag: nextTag(ordinary.modificationTag) };
  return changed({ ...rows, ordinary: { ...told, placementError: storedText(placementError) } }, [
    { before: ordinary, after: told },
  ]);
}

/** @param instanceKey whose row it must be; absent: whoever's */
export function remove(rows: Rows, instanceKey: ActualLRPInstanceKey | undefined): Outcome {
  const { ordinary } = rows;
  if (!ordinary) return refused(rows, resourceNotFound);
  if (instanceKey && !isSameInstance(ordinary.actualLrpInstanceKey, instanceKey)) {
    return refused(rows, resourceNotFound);
  }
  return removed(rows, 'ordinary');
}

/** The instance is to go, the desired LRP stays: the next convergence replaces it. */
export function retire(rows: Rows, isCellPresent: (cellId: string) => boolean): Outcome {
  const { ordinary } = rows;
  if (!ordinary) return refused(rows, resourceNotFound);
  if (!isOccupied(ordinary) || !isCellPresent(ordinary.actualLrpInstanceKey.cellId)) return removed(rows, 'ordinary');
  // Routers stop using it before its row goes.
  return { after: rows, changes: [{ before: ordinary }], isStartWanted: false, stops: [ordinary] };
}

/** The index is not desired any more (docs/protocol/bbs.md §6, stop). Who evacuates is let finish. */
export function stop(rows: Rows): Outcome {
  const { ordinary, suspect } = rows;
  const stops = [ordinary, suspect].filter((row) => row !== undefined && isOccupied(row)) as ActualLRP[];
  const isIdle = ordinary !== undefined && !isOccupied(ordinary);
  return { ...(isIdle ? removed(rows, 'ordinary') : unchanged(rows)), stops };
}

/** The index waits for a cell again, and the auctioneer must be asked. */
export function unclaim(rows: Rows, { now }: Pick<Moment, 'now'>): Outcome {
  const { ordinary } = rows;
  if (!ordinary) return refused(rows, resourceNotFound);
  if (ordinary.state === states.unclaimed) return refused(rows, cannotBeUnclaimed);
  return replaced(rows, { ...vacated(ordinary, now), state: states.unclaimed }, { isStartWanted: true });
}

/** The row without its instance; its routes, tags and zone stay. */
function vacated(row: ActualLRP, now: bigint): ActualLRP {
  return {
    ...row,
    actualLrpInstanceKey: ActualLRPInstanceKey.create(),
    actualLrpNetInfo: ActualLRPNetInfo.create(),
    since: now,
    modificationTag: nextTag(row.modificationTag),
  };
}
