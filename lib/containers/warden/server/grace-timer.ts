/** The longest that a timer of the platform can run; a longer time is waited for in several turns. */
const longestTurnMs = 2 ** 31 - 1;

/**
 * Counts the time that nobody has referred to a container: from the moment the last connection that ever referred to
 * it closes (docs/protocol/containers.md §1.4).
 */
export class GraceTimer {
  readonly #graceTimeMs: number | undefined;
  readonly #onElapsed: () => void;
  readonly #references = new Set<object>();
  #timer: NodeJS.Timeout | undefined;
  #isStopped = false;

  /** @param graceTimeMs absent: never elapses */
  constructor(options: { graceTimeMs: number | undefined; onElapsed: () => void }) {
    this.#graceTimeMs = options.graceTimeMs;
    this.#onElapsed = options.onElapsed;
  }

  /** Begins to count, unless somebody refers to the container already. */
  start(): void {
    if (this.#references.size === 0) this.#arm(this.#graceTimeMs);
  }

  /** As often as one likes for one referrer. */
  refer(referrer: object): void {
    this.#references.add(referrer);
    clearTimeout(this.#timer);
  }

  release(referrer: object): void {
    if (this.#references.delete(referrer)) this.start();
  }

  /** Never elapses from now on. */
  stop(): void {
    this.#isStopped = true;
    clearTimeout(this.#timer);
  }

  #arm(remainingMs: number | undefined): void {
    clearTimeout(this.#timer);
    if (this.#isStopped || remainingMs === undefined) return;
    const turnMs = Math.min(remainingMs, longestTurnMs);
    this.#timer = setTimeout(() => {
      if (turnMs === remainingMs) this.#onElapsed();
      else this.#arm(remainingMs - turnMs);
    }, turnMs);
  }
}
