import type { Expiry } from './lock-store.js';

/** Those who want to hear of expired keys. */
export class ExpiryListeners {
  readonly #listeners = new Set<(expiry: Expiry) => void>();

  /** @returns takes the listener out again */
  add(listener: (expiry: Expiry) => void): () => void {
    // One that is added twice hears twice.
    const own = (expiry: Expiry) => listener(expiry);
    this.#listeners.add(own);
    return () => void this.#listeners.delete(own);
  }

  tell(expiry: Expiry): void {
    for (const listener of this.#listeners) listener(expiry);
  }
}
