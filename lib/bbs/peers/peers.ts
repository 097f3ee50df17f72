import type { InstanceUpdate } from '../decisions/desired-lrps/lifecycle.js';
import type { ActualLRP, CellPresence, DesiredLRPSchedulingInfo, Task } from '../messages/models.js';

/** What the board asks of others (docs/protocol/bbs.md §13), in its own words; how they are asked is behind these. */

/** One process, and which of its indices wait for a cell. */
export interface LrpStart {
  readonly info: DesiredLRPSchedulingInfo;
  readonly indices: readonly number[];
}

/** Places instances and tasks on cells. It is asked and never waited for: convergence asks again. */
export interface Auctions {
  /** @param traceId of the request that it comes from, or empty */
  lrps(starts: readonly LrpStart[], traceId: string): void;
  tasks(tasks: readonly Task[], traceId: string): void;
}

/** Runs the containers of one cell. Each call rejects when the rep did not accept. */
export interface Reps {
  stopInstance(cell: CellPresence, instance: ActualLRP, traceId: string): Promise<void>;
  updateInstance(cell: CellPresence, update: InstanceUpdate, traceId: string): Promise<void>;
  cancelTask(cell: CellPresence, taskGuid: string, traceId: string): Promise<void>;
}

/** The cells that are there: their presences in Locket, or in the board's own lock store. */
export interface Cells {
  /** @throws when they cannot be asked for */
  list(): Promise<readonly CellPresence[]>;
  /** @throws when it cannot be asked for */
  find(cellId: string): Promise<CellPresence | undefined>;
}

/** Tells of tasks that are completed to who wanted to know. */
export interface Callbacks {
  submit(task: Task): void;
}
