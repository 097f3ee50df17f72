/** The moment that a runner holds its key for the first time, for those who wait. */
export class FirstHold {
  readonly reached: Promise<void>;
  #resolve: () => void = () => {};
  #reject: (error: Error) => void = () => {};

  constructor() {
    this.reached = new Promise<void>((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
    // Nobody need wait.
    this.reached.catch(() => {});
  }

  reach(): void {
    this.#resolve();
  }

  /** It will not come any more. */
  giveUp(error: Error): void {
    this.#reject(error);
  }
}
