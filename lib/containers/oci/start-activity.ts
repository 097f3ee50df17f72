/**
 * Knows whether containers or processes are being started, so that work which nobody waits for (filling stocks) keeps
 * out of their way. A start that comes in a burst leaves room for the rest of it: only a while after the last one has
 * ended it is quiet.
 */
export class StartActivity {
  #underWay = 0;
  #lastEnd = Number.NEGATIVE_INFINITY;

  async during<Result>(work: () => Promise<Result>): Promise<Result> {
    this.#underWay += 1;
    try {
      return await work();
    } finally {
      this.#underWay -= 1;
      this.#lastEnd = performance.now();
    }
  }

  /** Milliseconds since the last start ended; 0 while one is under way. */
  get quietForMs(): number {
    return this.#underWay > 0 ? 0 : performance.now() - this.#lastEnd;
  }
}
