import { setTimeout as delay } from 'node:timers/promises';
import { errorData, type Logger } from '../../logging/logger.js';
import { StartActivity } from './start-activity.js';

export interface WarmPoolOptions<Item> {
  /** What the pool holds, for log lines: `volumes`. */
  name: string;
  /** Spares to keep of the kind that was obtained last. 0: none. */
  size: number;
  /** How many kinds have spares: the last one `size`, the ones before it one each. @default 1 */
  keys?: number;
  /** Makes up to `count` items of a kind. */
  make: (key: string, count: number) => Promise<Item[]>;
  /** Gives back spares that nobody took. */
  discard: (items: Item[]) => Promise<void>;
  /** Refilling waits until it was quiet for so long: it must not slow down the burst it serves. @default 200 */
  quietMs?: number;
  /** What refilling keeps out of the way of, besides its own `obtain`. @default nothing else */
  activity?: StartActivity;
  logger: Logger;
}

const firstBackOffMs = 500;
const longestBackOffMs = 60_000;

/**
 * Keeps a few things ready that take long to make. The pool refills itself in the background,
 * one batch at a time, and backs off while making fails.
 */
export class WarmPool<Item> {
  readonly #options: WarmPoolOptions<Item>;
  readonly #spares = new Map<string, Item[]>();
  /** Last obtained last. */
  #keys: string[] = [];
  #refilling: Promise<void> | undefined;
  readonly #activity: StartActivity;
  readonly #stopping = new AbortController();

  constructor(options: WarmPoolOptions<Item>) {
    this.#options = options;
    this.#activity = options.activity ?? new StartActivity();
  }

  /** A spare of this kind, or a thing made on the spot; either way the kind is kept in stock from now on. */
  async obtain(key: string, makeOne: () => Promise<Item>): Promise<Item> {
    return this.#activity.during(async () => {
      const spare = this.#spares.get(key)?.shift();
      this.keep(key);
      return spare ?? makeOne();
    });
  }

  /** Begins to keep spares of a kind before the first one is asked for. */
  keep(key: string): void {
    this.#keys = [...this.#keys.filter((known) => known !== key), key].slice(-(this.#options.keys ?? 1));
    this.#refill();
  }

  /** Spares that lie ready, of all kinds. */
  spares(): Item[] {
    return [...this.#spares.values()].flat();
  }

  /** Resolves when the stock is full, or making failed. */
  async filled(): Promise<void> {
    await this.#refilling;
  }

  /** Stops refilling and gives back all spares. Idempotent. */
  async stop(): Promise<void> {
    this.#stopping.abort();
    await this.#refilling;
    const spares = this.spares();
    this.#spares.clear();
    if (spares.length > 0) await this.#options.discard(spares);
  }

  #refill(): void {
    if (this.#refilling || this.#stopping.signal.aborted) return;
    this.#refilling = this.#fillUp().finally(() => {
      this.#refilling = undefined;
      // Something may have been obtained while the last look was going on.
      if (this.#nextNeed() && !this.#stopping.signal.aborted) this.#refill();
    });
  }

  async #fillUp(): Promise<void> {
    let backOffMs = firstBackOffMs;
    for (;;) {
      await this.#quiet();
      if (this.#stopping.signal.aborted) return;
      try {
        await this.#discardForgotten();
        const need = this.#nextNeed();
        if (!need) return;
        const items = await this.#options.make(need.key, need.count);
        this.#spares.set(need.key, [...(this.#spares.get(need.key) ?? []), ...items]);
        backOffMs = firstBackOffMs;
      } catch (error) {
        this.#options.logger.warn(`cannot prepare ${this.#options.name}`, errorData(error));
        await this.#pause(backOffMs);
        backOffMs = Math.min(backOffMs * 2, longestBackOffMs);
      }
    }
  }

  async #quiet(): Promise<void> {
    const quietMs = this.#options.quietMs ?? 200;
    while (!this.#stopping.signal.aborted) {
      const remainingMs = quietMs - this.#activity.quietForMs;
      if (remainingMs <= 0) return;
      await this.#pause(remainingMs);
    }
  }

  async #pause(durationMs: number): Promise<void> {
    // A stop ends the pause early; the caller looks at the signal.
    await delay(durationMs, undefined, { signal: this.#stopping.signal, ref: false }).catch(() => {});
  }

  #nextNeed(): { key: string; count: number } | undefined {
    const latest = this.#keys.at(-1);
    for (const key of [...this.#keys].reverse()) {
      const wanted = key === latest ? this.#options.size : Math.min(1, this.#options.size);
      const count = wanted - (this.#spares.get(key)?.length ?? 0);
      if (count > 0) return { key, count };
    }
    return undefined;
  }

  async #discardForgotten(): Promise<void> {
    const forgotten = [...this.#spares].filter(([key]) => !this.#keys.includes(key));
    for (const [key, items] of forgotten) {
      this.#spares.delete(key);
      if (items.length > 0) await this.#options.discard(items);
    }
  }
}
