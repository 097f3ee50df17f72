import {
  type BbsError,
  invalidRequest,
  invalidStateTransition,
  resourceExists,
  resourceNotFound,
  runningOnDifferentCell,
} from '../../errors.js';
import { Task, type TaskDefinition, TaskState } from '../../messages/models.js';
import type { Moment } from '../moment.js';
import { storedText } from '../stored-text.js';

/**
 * The calls about tasks (docs/protocol/bbs.md §9).
 *
 *   desire --> Pending --start--> Running --complete--> Completed --resolving--> Resolving --delete--> gone
 *                 ^                  |                      ^  ^                     |
 *                 '---- reject 1..3 -'-- cancel, fail, -----'  '---- demoted by -----'
 *                                        the last reject             convergence
 */
export interface TaskOutcome {
  /** What the caller is told; then nothing changes. */
  readonly error?: BbsError | undefined;
  /** The task to be stored, the same object when there is nothing to write; absent: none is. */
  readonly after: Task | undefined;
  /** In the order in which they happened. */
  readonly changes: readonly TaskChange[];
  /** The auctioneer must be asked. */
  readonly isAuctionWanted: boolean;
  /** Completed, with a URL to tell it to. */
  readonly isCallbackDue: boolean;
  /** Whose rep must cancel it. */
  readonly cancelOnCell?: string;
}

export interface TaskChange {
  readonly before?: Task | undefined;
  readonly after?: Task | undefined;
}

const { Pending, Running, Completed, Resolving } = TaskState;

type Now = Pick<Moment, 'now'>;

export function desire(
  existing: Task | undefined,
  wanted: { taskGuid: string; domain: string; definition: TaskDefinition },
  { now }: Now,
): TaskOutcome {
  if (existing) return refused(existing, resourceExists);
  const { taskGuid, domain, definition } = wanted;
  const times = { createdAt: now, updatedAt: now };
  const after = Task.create({ taskGuid, domain, taskDefinition: definition, state: Pending, ...times });
  return { ...changed(undefined, after), isAuctionWanted: true };
}

/** @returns `shouldStart` false when that cell was told already */
export function start(before: Task | undefined, cellId: string, { now }: Now): TaskOutcome & { shouldStart: boolean } {
  if (!before) return { ...refused(before, resourceNotFound), shouldStart: false };
  if (before.state === Running && before.cellId === cellId) return { ...unchanged(before), shouldStart: false };
  if (before.state !== Pending) {
    return { ...refused(before, invalidStateTransition(before.state, Running)), shouldStart: false };
  }
  return { ...changed(before, { ...before, state: Running, cellId, updatedAt: now }), shouldStart: true };
}

export interface TaskResult {
  failed: boolean;
  failureReason: string;
  result: string;
}

export function complete(before: Task | undefined, cellId: string, result: TaskResult, moment: Now): TaskOutcome {
  if (!before) return refused(before, resourceNotFound);
  if (before.state === Running && before.cellId !== cellId) {
    return refused(before, runningOnDifferentCell(before.cellId, cellId));
  }
  if (before.state !== Running) return refused(before, invalidStateTransition(before.state, Completed));
  return completed(before, result, moment);
}

export function cancel(before: Task | undefined, moment: Now): TaskOutcome {
  const outcome = fail(before, 'task was cancelled', moment);
  const cellId = before?.cellId ?? '';
  return outcome.error || cellId === '' ? outcome : { ...outcome, cancelOnCell: cellId };
}

export function fail(before: Task | undefined, failureReason: string, moment: Now): TaskOutcome {
  if (!before) return refused(before, resourceNotFound);
  if (!isUnfinished(before)) return refused(before, invalidStateTransition(before.state, Completed));
  return completed(before, { failed: true, failureReason, result: '' }, moment);
}

/** No cell took it. @param maximumRetries so many times it goes back; one more ends it */
export function reject(
  before: Task | undefined,
  rejectionReason: string,
  { now, maximumRetries }: Now & { maximumRetries: number },
): TaskOutcome {
  if (!before) return refused(before, resourceNotFound);
  if (!isUnfinished(before)) return refused(before, invalidRequest);
  const told = { ...before, rejectionCount: before.rejectionCount + 1, rejectionReason: storedText(rejectionReason) };
  if (before.rejectionCount >= maximumRetries) {
    const after = completedTask(told, { failed: true, failureReason: rejectionReason, result: '' }, now);
    return { ...changed(before, after), isCallbackDue: hasCallback(after) };
  }
  return changed(before, { ...told, state: Pending, cellId: '', updatedAt: now });
}

export function resolve(before: Task | undefined, { now }: Now): TaskOutcome {
  if (!before) return refused(before, resourceNotFound);
  if (before.state !== Completed) return refused(before, invalidStateTransition(before.state, Resolving));
  return changed(before, { ...before, state: Resolving, updatedAt: now });
}

export function remove(before: Task | undefined): TaskOutcome {
  if (!before) return refused(before, resourceNotFound);
  // The error names the state that it should be in.
  if (before.state !== Resolving) return refused(before, invalidStateTransition(before.state, Resolving));
  return changed(before, undefined);
}

/** The task when it is over; its cell is whatever the caller leaves. */
export function completedTask(task: Task, { failed, failureReason, result }: TaskResult, now: bigint): Task {
  return {
    ...task,
    state: Completed,
    cellId: '',
    failed,
    failureReason: storedText(failureReason),
    result,
    updatedAt: now,
    firstCompletedAt: now,
  };
}

export function hasCallback({ taskDefinition }: Task): boolean {
  return taskDefinition !== undefined && taskDefinition.completionCallbackUrl !== '';
}

export function unchanged(task: Task | undefined): TaskOutcome {
  return { after: task, changes: [], isAuctionWanted: false, isCallbackDue: false };
}

export function changed(before: Task | undefined, after: Task | undefined): TaskOutcome {
  return { ...unchanged(after), changes: [{ before, after }] };
}

function refused(task: Task | undefined, error: BbsError): TaskOutcome {
  return { ...unchanged(task), error };
}

function completed(before: Task, result: TaskResult, { now }: Now): TaskOutcome {
  const after = completedTask(before, result, now);
  return { ...changed(before, after), isCallbackDue: hasCallback(after) };
}

function isUnfinished({ state }: Task): boolean {
  return state === Pending || state === Running;
}
