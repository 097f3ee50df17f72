export interface SightingsOptions {
  /** For so long after the start no cell is taken for lost while there has been none at all, ms. */
  startMs: number;
  /** For so long after all cells were gone at once none is taken for lost, ms: it may be Locket that has lost them. */
  emptyMs: number;
  /** Monotonic, ms. @default the process's */
  clock?: () => number;
}

/**
 * What was seen of the cells, and whether one that is not seen may be taken for lost (docs/protocol/bbs.md §24). A Locket
 * that has begun anew tells of none, then of one after the other.
 */
export class Sightings {
  readonly #clock: () => number;
  readonly #startedAt: number;
  #last: ReadonlySet<string> | undefined;
  #hasSeenAny = false;
  #emptiedAt: number | undefined;

  constructor(private readonly options: SightingsOptions) {
    this.#clock = options.clock ?? (() => performance.now());
    this.#startedAt = this.#clock();
  }

  /** @param present ids of the cells that are there @returns whether they are others than the last time */
  note(present: ReadonlySet<string>): boolean {
    const last = this.#last;
    this.#last = present;
    if (present.size > 0) this.#hasSeenAny = true;
    if (!last) return false;
    if (last.size > 0 && present.size === 0) this.#emptiedAt = this.#clock();
    return last.size !== present.size || [...present].some((cellId) => !last.has(cellId));
  }

  mayLose(): boolean {
    const { startMs, emptyMs } = this.options;
    const now = this.#clock();
    if (this.#emptiedAt !== undefined && now - this.#emptiedAt < emptyMs) return false;
    return this.#hasSeenAny || now - this.#startedAt >= startMs;
  }
}
