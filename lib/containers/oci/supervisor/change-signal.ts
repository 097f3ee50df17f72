/** Wakes those who wait for something to look at again. A change that comes before the wait is not missed. */
export class ChangeSignal {
  #version = 0;
  #waiting: (() => void)[] = [];

  /** To be read before looking, and given to `changedSince` afterwards. */
  get version(): number {
    return this.#version;
  }

  notify(): void {
    this.#version += 1;
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const wake of waiting) wake();
  }

  changedSince(version: number): Promise<void> {
    if (version !== this.#version) return Promise.resolve();
    return new Promise((resolve) => this.#waiting.push(resolve));
  }
}
