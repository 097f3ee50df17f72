import type { Part } from '../part.js';
import type { Lock } from './lock.js';

export interface LockedPartsOptions {
  lock: Lock;
  /** Started in this order once the lock is ours, stopped in the opposite one. */
  parts: Part[];
  /** A part did not start. */
  onFailure(error: unknown): void;
}

/** Work that one process does at a time: it begins when the lock is ours, however long that takes. */
export class LockedParts implements Part {
  readonly #stopped = new AbortController();
  #working: Promise<void> | undefined;
  readonly #started: Part[] = [];

  constructor(private readonly options: LockedPartsOptions) {}

  /** Returns at once. */
  start(): void {
    this.#working ??= this.#work();
  }

  /** Idempotent. */
  async stop(): Promise<void> {
    this.#stopped.abort();
    await this.#working;
    for (const part of this.#started.splice(0).reverse()) await part.stop();
    await this.options.lock.release();
  }

  async #work(): Promise<void> {
    const { lock, parts, onFailure } = this.options;
    const { signal } = this.#stopped;
    try {
      await lock.acquire(signal);
      for (const part of parts) {
        if (signal.aborted) return;
        this.#started.push(part);
        await part.start();
      }
    } catch (error) {
      if (!signal.aborted) onFailure(error);
    }
  }
}
