interface Pending<Item> {
  item: Item;
  resolve: () => void;
  reject: (error: unknown) => void;
}

/**
 * Runs one costly operation at a time for all items that came in meanwhile: ten concurrent containers cost three calls
 * and not ten. When an operation on several items fails each is tried alone, so that one bad item harms nobody else.
 */
export class GroupCommit<Item> {
  readonly #commit: (items: Item[]) => Promise<void>;
  #pending: Pending<Item>[] = [];
  #isRunning = false;

  constructor(commit: (items: Item[]) => Promise<void>) {
    this.#commit = commit;
  }

  /** Resolves when the operation that this item was part of has succeeded. */
  add(item: Item): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#pending.push({ item, resolve, reject });
      // Never rejects: `settle` hands every failure to the items.
      if (!this.#isRunning) void this.#run();
    });
  }

  async #run(): Promise<void> {
    this.#isRunning = true;
    // Items that are added in the same turn of the event loop go together.
    await Promise.resolve();
    while (this.#pending.length > 0) {
      const group = this.#pending;
      this.#pending = [];
      await this.#settle(group);
    }
    this.#isRunning = false;
  }

  async #settle(group: Pending<Item>[]): Promise<void> {
    try {
      await this.#commit(group.map(({ item }) => item));
      for (const { resolve } of group) resolve();
    } catch (error) {
      if (group.length === 1) {
        group[0]!.reject(error);
        return;
      }
      for (const single of group) await this.#settle([single]);
    }
  }
}
