/** Calls or queries of one kind: how many there were, and how long the longest took since it was asked last. */
export class Measured {
  started = 0;
  succeeded = 0;
  failed = 0;
  cancelled = 0;
  #longestMs = 0;

  start(): void {
    this.started += 1;
  }

  end(outcome: 'succeeded' | 'failed' | 'cancelled', durationMs: number): void {
    this[outcome] += 1;
    this.#longestMs = Math.max(this.#longestMs, durationMs);
  }

  get inFlight(): number {
    return this.started - this.succeeded - this.failed - this.cancelled;
  }

  /** In milliseconds; the next ones are measured anew. */
  takeLongest(): number {
    const longest = this.#longestMs;
    this.#longestMs = 0;
    return longest;
  }
}
