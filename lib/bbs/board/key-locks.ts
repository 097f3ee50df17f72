/** Lets one after the other at a key, in the order in which they came; different keys do not wait for each other. */
export class KeyLocks {
  /** Of each key that is held: settles when the last one who waits is done. */
  readonly #held = new Map<string, Promise<unknown>>();

  run<T>(key: string, work: () => Promise<T>): Promise<T> {
    const before = this.#held.get(key);
    const running = before ? before.then(work) : work();
    const settled = running.then(ignore, ignore);
    this.#held.set(key, settled);
    void settled.then(() => {
      if (this.#held.get(key) === settled) this.#held.delete(key);
    });
    return running;
  }

  /** Holds several keys. To be given in one order by all who hold several, or they wait for each other for ever. */
  runAll<T>(keys: readonly string[], work: () => Promise<T>): Promise<T> {
    const [first, ...others] = keys;
    return first === undefined ? work() : this.run(first, () => this.runAll(others, work));
  }
}

function ignore(): void {}
