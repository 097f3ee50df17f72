import { errorData, type Logger } from '../../logging/logger.js';
import type { Board } from '../board/board.js';
import type { TaskCalls } from '../board/task-calls.js';
import { convergeTask, planTasks, type TaskPatience, type TaskView } from '../decisions/convergence/tasks.js';
import { unchanged } from '../decisions/tasks/lifecycle.js';
import { type Task, TaskState } from '../messages/models.js';
import type { Auctions, Callbacks } from '../peers/peers.js';
import { inParallel } from './in-parallel.js';

export interface TaskPassOptions {
  board: Board;
  tasks: TaskCalls;
  auctions: Auctions;
  callbacks: Callbacks;
  patience: TaskPatience;
  /** Tasks at the same time. */
  workers: number;
  logger: Logger;
}

/** Figures of a pass, by what upstream's metrics are called (docs/protocol/bbs.md §18). */
export interface TaskCensus {
  TasksPending: number;
  TasksRunning: number;
  TasksCompleted: number;
  TasksResolving: number;
  ConvergenceTasksPruned: number;
  ConvergenceTasksKicked: number;
}

/** Gives up, offers again and prunes tasks (docs/protocol/bbs.md §12.3). */
export class TaskPass {
  constructor(private readonly options: TaskPassOptions) {}

  /** @param cells ids of those that are there; undefined when that is not known */
  async run(cells: ReadonlySet<string> | undefined, isGoingOn: () => boolean): Promise<TaskCensus> {
    const { board, auctions, callbacks, patience, workers } = this.options;
    const view: TaskView = { now: board.now(), cells, patience };
    const census = countTasks(board.image.tasks.all());
    const pending: Task[] = [];
    const due: Task[] = [];
    const planned = planTasks(board.image.tasks.all(), view);
    await inParallel(
      planned,
      workers,
      async ({ before, outcome }) => {
        if (outcome.changes.length > 0 && !(await this.#change(before, view))) return;
        if (outcome.changes.length > 0) count(census, outcome.after);
        if (outcome.after && outcome.isAuctionWanted) pending.push(outcome.after);
        if (outcome.after && outcome.isCallbackDue) due.push(outcome.after);
      },
      isGoingOn,
    );
    if (pending.length > 0) auctions.tasks(pending, '');
    for (const task of due) callbacks.submit(task);
    return census;
  }

  /** @returns whether the task was still what it was when that was planned */
  async #change(planned: Task, view: TaskView): Promise<boolean> {
    let isDone = false;
    try {
      await this.options.tasks.change(planned.taskGuid, '', (before) => {
        isDone = before === planned;
        if (!isDone) return unchanged(before);
        // Auction and callback are asked for at the end of the pass.
        return { ...convergeTask(planned, view), isAuctionWanted: false, isCallbackDue: false };
      });
    } catch (error) {
      this.options.logger.warn('bbs.convergence.task-failed', { task_guid: planned.taskGuid, ...errorData(error) });
      return false;
    }
    return isDone;
  }
}

function countTasks(tasks: Iterable<Task>): TaskCensus {
  const counts = new Map<TaskState, number>();
  for (const { state } of tasks) counts.set(state, (counts.get(state) ?? 0) + 1);
  return {
    TasksPending: counts.get(TaskState.Pending) ?? 0,
    TasksRunning: counts.get(TaskState.Running) ?? 0,
    TasksCompleted: counts.get(TaskState.Completed) ?? 0,
    TasksResolving: counts.get(TaskState.Resolving) ?? 0,
    ConvergenceTasksPruned: 0,
    ConvergenceTasksKicked: 0,
  };
}

function count(census: TaskCensus, after: Task | undefined): void {
  if (after) census.ConvergenceTasksKicked += 1;
  else census.ConvergenceTasksPruned += 1;
}
