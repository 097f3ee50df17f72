import type { Cells } from '../peers/peers.js';
import type { ActualLrpCalls } from './actual-lrp-calls.js';
import type { Board } from './board.js';
import type { DesiredLrpCalls } from './desired-lrp-calls.js';
import type { DomainCalls } from './domain-calls.js';
import type { TaskCalls } from './task-calls.js';

/** All that can be asked of the board. */
export interface Calls {
  readonly board: Board;
  readonly actualLrps: ActualLrpCalls;
  readonly desiredLrps: DesiredLrpCalls;
  readonly tasks: TaskCalls;
  readonly domains: DomainCalls;
  readonly cells: Cells;
}
