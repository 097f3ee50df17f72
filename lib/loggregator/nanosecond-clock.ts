/**
 * Nanoseconds since 1970 that rise with each reading: readers sort an app's lines by time, and a millisecond has room
 * for many.
 */
export class NanosecondClock {
  #last = 0n;
  readonly #clock: () => number;

  /** @param clock milliseconds since 1970 */
  constructor(clock: () => number) {
    this.#clock = clock;
  }

  read(): bigint {
    const now = BigInt(Math.floor(this.#clock())) * 1_000_000n;
    this.#last = now > this.#last ? now : this.#last + 1n;
    return this.#last;
  }
}
