import { errorData, type Logger } from '../../logging/logger.js';
import type { Board } from '../board/board.js';
import type { CellPresence } from '../messages/models.js';
import type { Cells } from '../peers/peers.js';
import type { LrpPass, LrpPassResult } from './lrp-pass.js';
import type { TaskCensus, TaskPass } from './task-pass.js';

export interface ConvergenceOptions {
  board: Board;
  cells: Cells;
  lrps: LrpPass;
  tasks: TaskPass;
  /** From the end of a pass to the next one, ms. */
  intervalMs: number;
  /** Between two looks at which cells there are, ms; 0: only passes look. */
  watchIntervalMs: number;
  /** For so long after the start no cell is taken for lost while there is none at all, ms: Locket may be new itself. */
  presenceTtlMs: number;
  onLrps?: (result: LrpPassResult, durationMs: number) => void;
  onTasks?: (census: TaskCensus, durationMs: number) => void;
  logger: Logger;
}

/**
 * Runs both passes again and again (docs/protocol/bbs.md §12), and at once when a cell has come or gone: instances of a
 * lost cell need not wait for the next regular pass.
 */
export class Convergence {
  #timer: NodeJS.Timeout | undefined;
  #watch: NodeJS.Timeout | undefined;
  /** Ids of the cells that the last pass or look has found. */
  #seen: ReadonlySet<string> | undefined;
  #running: Promise<void> | undefined;
  #isStopped = false;
  #startedAt = 0;
  /** Whether any cell has been there since the start. */
  #hasSeenCells = false;

  constructor(private readonly options: ConvergenceOptions) {}

  start(): void {
    this.#startedAt = performance.now();
    this.#schedule();
    this.#scheduleLook();
  }

  /** Lets the steps end that are under way. Idempotent. */
  async stop(): Promise<void> {
    this.#isStopped = true;
    clearTimeout(this.#timer);
    clearTimeout(this.#watch);
    await this.#running;
  }

  /** A pass at once, or the one that is under way; for those who cannot wait for the next one. */
  run(): Promise<void> {
    clearTimeout(this.#timer);
    this.#running ??= this.#pass().finally(() => {
      this.#running = undefined;
      this.#schedule();
    });
    return this.#running;
  }

  #schedule(): void {
    clearTimeout(this.#timer);
    if (!this.#isStopped) this.#timer = setTimeout(() => void this.run(), this.options.intervalMs);
  }

  #scheduleLook(): void {
    const { watchIntervalMs } = this.options;
    if (this.#isStopped || watchIntervalMs === 0) return;
    this.#watch = setTimeout(() => void this.#look().finally(() => this.#scheduleLook()), watchIntervalMs);
  }

  async #look(): Promise<void> {
    const before = this.#seen;
    try {
      const present = idsOf(await this.options.cells.list());
      const isSame = before !== undefined && before.size === present.size && [...present].every((id) => before.has(id));
      if (before !== undefined && !isSame && !this.#isStopped) await this.run();
      else this.#seen = present;
    } catch {
      // The next pass says so.
    }
  }

  async #pass(): Promise<void> {
    const { board, cells, logger } = this.options;
    try {
      await board.check();
      const list = await cells.list();
      this.#seen = idsOf(list);
      const present = this.#known(list);
      await Promise.all([this.#lrps(present), this.#tasks(present && new Set(present.keys()))]);
    } catch (error) {
      logger.error('bbs.convergence.skipped', errorData(error));
    }
  }

  #known(list: readonly CellPresence[]): ReadonlyMap<string, CellPresence> | undefined {
    if (list.length > 0) this.#hasSeenCells = true;
    const isTooEarly = performance.now() - this.#startedAt < this.options.presenceTtlMs;
    if (!this.#hasSeenCells && isTooEarly) return undefined;
    return new Map(list.map((cell) => [cell.cellId, cell]));
  }

  async #lrps(cells: ReadonlyMap<string, CellPresence> | undefined): Promise<void> {
    const begun = performance.now();
    const result = await this.options.lrps.run(cells, () => !this.#isStopped);
    this.options.onLrps?.(result, performance.now() - begun);
  }

  async #tasks(cells: ReadonlySet<string> | undefined): Promise<void> {
    const begun = performance.now();
    const census = await this.options.tasks.run(cells, () => !this.#isStopped);
    this.options.onTasks?.(census, performance.now() - begun);
  }
}

function idsOf(cells: readonly CellPresence[]): ReadonlySet<string> {
  return new Set(cells.map(({ cellId }) => cellId));
}
