import type { BbsError } from '../../errors.js';
import { resourceNotFound } from '../../errors.js';
import {
  ActualLRP,
  type ActualLRPInstanceKey,
  type ActualLRPKey,
  ActualLRPPresence,
  type DesiredLRP,
  DesiredLRPUpdateStrategy,
} from '../../messages/models.js';
import { firstTag, nextTag } from '../modification-tag.js';
import type { Moment } from '../moment.js';
import { crash, isUnchanged, type RunningInstance, running, unclaim } from './lifecycle.js';
import { type Change, changed, type Outcome, refused, removed, replaced, unchanged } from './outcome.js';
import { findInstance, isOccupied, type Rows, states } from './rows.js';

/** Calls of a rep whose cell is to be empty (docs/protocol/bbs.md §8). */
export interface EvacuationOutcome extends Outcome {
  /** The rep goes on running the container, and asks again. */
  readonly keepContainer: boolean;
}

/** It has no container yet: another cell takes it. */
export function evacuateClaimed(
  rows: Rows,
  instanceKey: ActualLRPInstanceKey,
  moment: Pick<Moment, 'now'>,
): EvacuationOutcome {
  return dropped(leave(rows, instanceKey, () => unclaim(rows, moment)));
}

/** As a crash, but the next convergence brings it back. */
export function evacuateCrashed(
  rows: Rows,
  crashed: { key: ActualLRPKey; instanceKey: ActualLRPInstanceKey; reason: string },
  moment: Pick<Moment, 'now'>,
): EvacuationOutcome {
  return dropped(
    leave(rows, crashed.instanceKey, () => {
      const outcome = crash(rows, crashed, moment);
      const changes = outcome.changes.map(({ before, after }): Change => ({ before, after }));
      return { ...outcome, changes, isStartWanted: false };
    }),
  );
}

export function evacuateStopped(rows: Rows, instanceKey: ActualLRPInstanceKey): EvacuationOutcome {
  return dropped(leave(rows, instanceKey, () => removed(rows, 'ordinary')));
}

/** The evacuating instance is gone. */
export function removeEvacuating(rows: Rows, instanceKey: ActualLRPInstanceKey): Outcome {
  const isIts = findInstance(rows, instanceKey) === 'evacuating';
  return isIts ? removed(rows, 'evacuating') : refused(rows, resourceNotFound);
}

export interface RunningEvacuation {
  instance: RunningInstance;
  /** Absent when it is gone. */
  desired: Pick<DesiredLRP, 'instances' | 'updateStrategy'> | undefined;
  /** How many ordinary instances of the process run. */
  runningCount: number;
}

/** A running instance serves on until another cell has its replacement. */
export function evacuateRunning(rows: Rows, evacuation: RunningEvacuation, moment: Moment): EvacuationOutcome {
  const { instance, desired } = evacuation;
  const place = findInstance(rows, instance.instanceKey);
  if (isReplaced(rows, place) || !desired) {
    return dropped(place === 'evacuating' ? removed(rows, 'evacuating') : unchanged(rows));
  }
  if (desired.updateStrategy === DesiredLRPUpdateStrategy.RECREATE) {
    return recreate(rows, place, { ...evacuation, desired }, moment);
  }
  if (place === undefined || place === 'evacuating') return evacuateFurther(rows, place, instance, moment);
  const row = rows[place]!;
  return isOccupied(row) ? kept(handOver(rows, row, instance, moment)) : dropped(unchanged(rows));
}

/** Whether somebody else has the index, or nobody will have it. */
function isReplaced(rows: Rows, place: keyof Rows | undefined): boolean {
  const { ordinary } = rows;
  if (!ordinary) return true;
  if (place === 'ordinary') return false;
  return ordinary.state === states.running || ordinary.state === states.crashed;
}

/** One instance after the other goes: no two of them at a time. */
function recreate(
  rows: Rows,
  place: keyof Rows | undefined,
  { desired, runningCount }: { desired: { instances: number }; runningCount: number },
  moment: Moment,
): EvacuationOutcome {
  if (place === undefined) return dropped(unchanged(rows));
  if (place !== 'ordinary') return dropped(removed(rows, place));
  if (!isOccupied(rows.ordinary!)) return dropped(unchanged(rows));
  return runningCount >= desired.instances ? dropped(unclaim(rows, moment)) : kept(unchanged(rows));
}

/** The rep asks again, or the board has lost the row. */
function evacuateFurther(
  rows: Rows,
  place: 'evacuating' | undefined,
  instance: RunningInstance,
  { now, newEpoch }: Moment,
): EvacuationOutcome {
  const { evacuating } = rows;
  if (evacuating && place === undefined) return dropped(unchanged(rows));
  if (!evacuating) {
    const fresh = ActualLRP.create({
      presence: ActualLRPPresence.EVACUATING,
      modificationTag: firstTag(newEpoch()),
      since: now,
    });
    return kept(replaced(rows, running(fresh, instance)));
  }
  if (isUnchanged(evacuating, instance)) return kept(unchanged(rows));
  const modificationTag = nextTag(evacuating.modificationTag);
  return kept(replaced(rows, running({ ...evacuating, modificationTag, since: now }, instance)));
}

/** The instance goes on as the evacuating one, and the index waits for a cell. */
function handOver(rows: Rows, row: ActualLRP, instance: RunningInstance, moment: Moment): Outcome {
  // Of one that is only claimed nothing is known yet but what its rep says now.
  const known = row.state === states.running ? row : { ...running(row, instance), actualLrpKey: row.actualLrpKey };
  const evacuating: ActualLRP = {
    ...known,
    presence: ActualLRPPresence.EVACUATING,
    since: moment.now,
    modificationTag: firstTag(moment.newEpoch()),
  };
  const displaced: Change[] = rows.evacuating ? [{ before: rows.evacuating }] : [];
  const moved: Change = { before: row, after: evacuating };
  if (row.presence === ActualLRPPresence.SUSPECT) {
    return changed({ ...rows, suspect: undefined, evacuating }, [moved, ...displaced]);
  }
  const { after } = unclaim(rows, moment);
  return changed({ ...after, evacuating }, [moved, { after: after.ordinary }, ...displaced], { isStartWanted: true });
}

/** What all three calls do with rows beside the ordinary one: these just go. */
function leave(rows: Rows, instanceKey: ActualLRPInstanceKey, leaveOrdinary: () => Outcome): Outcome {
  const place = findInstance(rows, instanceKey);
  if (place === undefined) return refused(rows, resourceNotFound);
  return place === 'ordinary' ? leaveOrdinary() : removed(rows, place);
}

function dropped(outcome: Outcome): EvacuationOutcome {
  return { ...outcome, keepContainer: false };
}

function kept(outcome: Outcome): EvacuationOutcome {
  return { ...outcome, keepContainer: true };
}

/**
 * What a rep is told when its request could not be carried out: what runs or will run is kept
 * (docs/protocol/bbs.md §4, §8).
 */
export function failedEvacuation(
  kind: 'claimed' | 'crashed' | 'stopped' | 'running',
  error: BbsError,
): { error: BbsError; keepContainer: boolean } {
  return { error, keepContainer: kind === 'claimed' || kind === 'running' };
}
