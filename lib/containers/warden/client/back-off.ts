const firstMs = 100;

/** Pauses between attempts to reach a server that is away (docs/protocol/dea.md §23.1). */
export class BackOff {
  readonly #longestMs: number;
  #nextMs = firstMs;

  constructor(longestMs = 5_000) {
    this.#longestMs = longestMs;
  }

  /** Milliseconds until the next attempt; longer each time. */
  next(): number {
    const pauseMs = this.#nextMs;
    this.#nextMs = Math.min(pauseMs * 2, this.#longestMs);
    return pauseMs;
  }

  /** It was there. */
  reset(): void {
    this.#nextMs = firstMs;
  }
}
