import { type Task, TaskState } from '../../messages/models.js';
import { completedTask, hasCallback, type TaskChange, type TaskOutcome, unchanged } from '../tasks/lifecycle.js';

/** Times after which a pass acts, in seconds (docs/protocol/bbs.md §12.3, §17). */
export interface TaskPatience {
  /** Until a pending task is given up. */
  expirePendingSeconds: number;
  /** Until a completed task that nobody asked for goes. */
  expireCompletedSeconds: number;
  /** Until somebody is told again, or again may be. */
  kickSeconds: number;
  /** Until a task that no cell took is offered to them again: passes may come one soon after the other. */
  rejectedSeconds: number;
}

export interface TaskView {
  /** Nanoseconds since 1970. */
  readonly now: bigint;
  /** Ids of the cells that are there; undefined when that is not known: then none is taken for lost. */
  readonly cells: ReadonlySet<string> | undefined;
  readonly patience: TaskPatience;
}

/** What is to be done about all tasks; those about which nothing is are left out. */
export function planTasks(tasks: Iterable<Task>, view: TaskView): { before: Task; outcome: TaskOutcome }[] {
  return [...tasks]
    .map((before) => ({ before, outcome: convergeTask(before, view) }))
    .filter(({ outcome }) => outcome.changes.length > 0 || outcome.isAuctionWanted || outcome.isCallbackDue);
}

/** What a pass does about one task. */
export function convergeTask(task: Task, view: TaskView): TaskOutcome {
  switch (task.state) {
    case TaskState.Pending:
      return convergePending(task, view);
    case TaskState.Running:
      return convergeRunning(task, view);
    case TaskState.Completed:
      return convergeCompleted(task, [], view);
    case TaskState.Resolving:
      return convergeResolving(task, view);
    default:
      return unchanged(task);
  }
}

function convergePending(task: Task, { now, patience }: TaskView): TaskOutcome {
  if (isOlder(task.createdAt, patience.expirePendingSeconds, now)) {
    return givenUp(task, 'not started within time limit', now);
  }
  const isWaiting = task.rejectionCount > 0 && !isOlder(task.updatedAt, patience.rejectedSeconds, now);
  return { ...unchanged(task), isAuctionWanted: !isWaiting };
}

function convergeRunning(task: Task, { now, cells }: TaskView): TaskOutcome {
  if (!cells || cells.has(task.cellId)) return unchanged(task);
  return givenUp(task, 'cell disappeared before completion', now);
}

/** Whoever was to take the result has not: it is offered again, and with it goes what became of the task since. */
function convergeResolving(task: Task, view: TaskView): TaskOutcome {
  if (!isOlder(task.updatedAt, view.patience.kickSeconds, view.now)) return unchanged(task);
  const after = { ...task, state: TaskState.Completed };
  return convergeCompleted(after, [{ before: task, after }], view);
}

function convergeCompleted(task: Task, changes: readonly TaskChange[], { now, patience }: TaskView): TaskOutcome {
  if (isOlder(task.firstCompletedAt, patience.expireCompletedSeconds, now)) {
    return { ...unchanged(undefined), changes: [...changes, { before: task }] };
  }
  const isCallbackDue = hasCallback(task) && isOlder(task.updatedAt, patience.kickSeconds, now);
  return { ...unchanged(task), changes, isCallbackDue };
}

/** The callback is not made in this pass: the task was updated just now. Where it ran stays known. */
function givenUp(task: Task, failureReason: string, now: bigint): TaskOutcome {
  const after = { ...completedTask(task, { failed: true, failureReason, result: '' }, now), cellId: task.cellId };
  return { ...unchanged(after), changes: [{ before: task, after }] };
}

function isOlder(since: bigint, seconds: number, now: bigint): boolean {
  return now - since > BigInt(Math.round(seconds * 1e9));
}
