import { errorData, type Logger } from '../../logging/logger.js';
import type { Board } from '../board/board.js';
import type { CellPresence } from '../messages/models.js';
import type { Cells } from '../peers/peers.js';
import type { LrpPass, LrpPassResult } from './lrp-pass.js';
import { Sightings, type SightingsOptions } from './sightings.js';
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
  /** When no cell is taken for lost. */
  patience: Pick<SightingsOptions, 'startMs' | 'emptyMs'>;
  onLrps?: (result: LrpPassResult, durationMs: number) => void;
  onTasks?: (census: TaskCensus, durationMs: number) => void;
  logger: Logger;
}

/**
 * Runs both passes again and again (docs/protocol/bbs.md §12), and, after the first one, at once when a cell has come or
 * gone: instances of a lost cell need not wait for the next regular pass. Before it, cells are still coming.
 */
export class Convergence {
  #timer: NodeJS.Timeout | undefined;
  #watch: NodeJS.Timeout | undefined;
  #sightings: Sightings;
  #running: Promise<void> | undefined;
  #isStopped = false;

  constructor(private readonly options: ConvergenceOptions) {
    this.#sightings = new Sightings(options.patience);
  }

  start(): void {
    this.#sightings = new Sightings(this.options.patience);
    this.#schedule();
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
      if (!this.#watch) this.#scheduleLook();
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
    try {
      const hasChanged = this.#sightings.note(idsOf(await this.options.cells.list()));
      if (hasChanged && !this.#isStopped) await this.run();
    } catch {
      // The next pass says so.
    }
  }

  async #pass(): Promise<void> {
    const { board, cells, logger } = this.options;
    try {
      await board.check();
      const list = await cells.list();
      this.#sightings.note(idsOf(list));
      const present = this.#sightings.mayLose() ? new Map(list.map((cell) => [cell.cellId, cell])) : undefined;
      await Promise.all([this.#lrps(present), this.#tasks(present && new Set(present.keys()))]);
    } catch (error) {
      logger.error('bbs.convergence.skipped', errorData(error));
    }
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
