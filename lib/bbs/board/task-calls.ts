import { errorData, type Logger } from '../../logging/logger.js';
import { taskEvents } from '../decisions/events/task-events.js';
import type { Moment } from '../decisions/moment.js';
import {
  cancel,
  complete,
  desire,
  fail,
  reject,
  remove,
  resolve,
  start,
  type TaskOutcome,
  type TaskResult,
} from '../decisions/tasks/lifecycle.js';
import { type BbsError, invalidRequest } from '../errors.js';
import { Task, type TaskDefinition } from '../messages/models.js';
import type { Auctions, Callbacks, Cells, Reps } from '../peers/peers.js';
import { traceData } from '../request-id.js';
import { fitsTask } from '../validation/column-widths.js';
import type { Board } from './board.js';

export interface TaskCallsOptions {
  board: Board;
  auctions: Auctions;
  callbacks: Callbacks;
  cells: Cells;
  reps: Reps;
  /** So many times a task that no cell took is tried again. */
  maximumRetries: number;
  /** Counts what became of tasks on a cell (docs/protocol/bbs.md §18). */
  onTaskOnCell?: (cellId: string, what: 'started' | 'failed' | 'succeeded') => void;
  logger: Logger;
}

type Result = BbsError | undefined;

/** The calls about tasks (docs/protocol/bbs.md §9), carried out. */
export class TaskCalls {
  constructor(private readonly options: TaskCallsOptions) {}

  async desire(
    wanted: { taskGuid: string; domain: string; definition: TaskDefinition },
    traceId: string,
  ): Promise<Result> {
    if (!fitsTask(Task.create(wanted))) return invalidRequest;
    return (await this.change(wanted.taskGuid, traceId, (before, moment) => desire(before, wanted, moment))).error;
  }

  async start(taskGuid: string, cellId: string, traceId: string): Promise<{ error: Result; shouldStart: boolean }> {
    let shouldStart = false;
    const { error } = await this.change(taskGuid, traceId, (before, moment) => {
      const outcome = start(before, cellId, moment);
      shouldStart = outcome.shouldStart;
      return outcome;
    });
    if (!error && shouldStart) this.options.onTaskOnCell?.(cellId, 'started');
    return { error, shouldStart: !error && shouldStart };
  }

  async complete(taskGuid: string, cellId: string, result: TaskResult, traceId: string): Promise<Result> {
    const { error } = await this.change(taskGuid, traceId, (before, moment) =>
      complete(before, cellId, result, moment),
    );
    if (!error) this.options.onTaskOnCell?.(cellId, result.failed ? 'failed' : 'succeeded');
    return error;
  }

  async cancel(taskGuid: string, traceId: string): Promise<Result> {
    const outcome = await this.change(taskGuid, traceId, cancel);
    if (!outcome.error && outcome.cancelOnCell !== undefined) {
      void this.#cancelOnCell(taskGuid, outcome.cancelOnCell, traceId);
    }
    return outcome.error;
  }

  async fail(taskGuid: string, reason: string, traceId: string): Promise<Result> {
    return (await this.change(taskGuid, traceId, (before, moment) => fail(before, reason, moment))).error;
  }

  async reject(taskGuid: string, reason: string, traceId: string): Promise<Result> {
    const { maximumRetries } = this.options;
    const decide = (before: Task | undefined, { now }: Moment) => reject(before, reason, { now, maximumRetries });
    return (await this.change(taskGuid, traceId, decide)).error;
  }

  async resolve(taskGuid: string, traceId: string): Promise<Result> {
    return (await this.change(taskGuid, traceId, resolve)).error;
  }

  async delete(taskGuid: string, traceId: string): Promise<Result> {
    return (await this.change(taskGuid, traceId, remove)).error;
  }

  /**
   * Decides about one task and carries it out.
   *
   * @throws as Board.hold and Board.commit
   */
  async change(
    taskGuid: string,
    traceId: string,
    decide: (before: Task | undefined, moment: Moment) => TaskOutcome,
  ): Promise<TaskOutcome> {
    const { board } = this.options;
    const outcome = await board.hold([`task/${taskGuid}`], async () => {
      const before = board.image.tasks.get(taskGuid);
      const decided = decide(before, board.moment());
      if (decided.after && decided.after !== before && !fitsTask(decided.after)) {
        return { ...decided, error: invalidRequest };
      }
      if (decided.after !== before) await this.#commit(taskGuid, before, decided.after);
      if (decided.changes.length > 0) board.events.tellTasks(() => taskEvents(decided.changes));
      return decided;
    });
    if (!outcome.error) this.#followUp(outcome, traceId);
    return outcome;
  }

  #commit(taskGuid: string, before: Task | undefined, after: Task | undefined): Promise<void> {
    return this.options.board.commit([{ table: 'tasks', before, after }], ({ tasks }) => {
      if (after) tasks.set(after);
      else tasks.delete(taskGuid);
    });
  }

  #followUp({ after, isAuctionWanted, isCallbackDue }: TaskOutcome, traceId: string): void {
    const { auctions, callbacks } = this.options;
    if (after && isAuctionWanted) auctions.tasks([after], traceId);
    if (after && isCallbackDue) callbacks.submit(after);
  }

  async #cancelOnCell(taskGuid: string, cellId: string, traceId: string): Promise<void> {
    const { cells, reps, logger } = this.options;
    try {
      const cell = await cells.find(cellId);
      if (cell) await reps.cancelTask(cell, taskGuid, traceId);
    } catch (error) {
      const data = { task_guid: taskGuid, cell_id: cellId, ...traceData(traceId) };
      logger.warn('bbs.task.not-cancelled', { ...data, ...errorData(error) });
    }
  }
}
