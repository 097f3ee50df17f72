/** A holder gives up this part of the ttl before the store does, and renews as often (docs/protocol/edge.md §8.2). */
const parts = 5;

/**
 * How long a key is the holder's for sure, by its own monotonic clock: counted from before it was asked for, so never
 * longer than the store believes. All times are milliseconds.
 */
export class Tenure {
  #validUntil = Number.NEGATIVE_INFINITY;
  #endedAt = Number.NEGATIVE_INFINITY;

  constructor(private readonly ttlMs: number) {}

  /** Time between two renewals, and the limit of one. */
  get renewalMs(): number {
    return this.ttlMs / parts;
  }

  /** @param asked when a request was sent that was granted; one from before the end says nothing of the time after it */
  extend(asked: number): void {
    if (asked < this.#endedAt) return;
    this.#validUntil = Math.max(this.#validUntil, asked + this.ttlMs - this.ttlMs / parts);
  }

  end(now: number): void {
    this.#endedAt = now;
    this.#validUntil = Number.NEGATIVE_INFINITY;
  }

  isValidAt(now: number): boolean {
    return now < this.#validUntil;
  }

  /** Never negative. */
  remainingAt(now: number): number {
    return Math.max(0, this.#validUntil - now);
  }
}
