/** Fewer apps than this may vanish at once without a word. */
const suspiciousApps = 50;
const suspiciousShare = 0.5;
/** Fetches that have to agree with the first before what they say is believed. */
const confirmations = 2;

/**
 * Doubts a Cloud Controller that suddenly wants hardly anything: stops are held until two more fetches have said the
 * same (docs/protocol/health-manager.md §14).
 */
export class MassStopGuard {
  #believed: ReadonlySet<string> = new Set();
  #agreeing = 0;

  /** True while stops have to wait. */
  get isHolding(): boolean {
    return this.#agreeing > 0;
  }

  /** @param apps guids of all apps that a complete fetch brought */
  noteFetch(apps: ReadonlySet<string>): void {
    if (!this.#isSuspicious(apps)) {
      this.#believe(apps);
      return;
    }
    this.#agreeing += 1;
    if (this.#agreeing > confirmations) this.#believe(apps);
  }

  #believe(apps: ReadonlySet<string>): void {
    this.#believed = apps;
    this.#agreeing = 0;
  }

  #isSuspicious(apps: ReadonlySet<string>): boolean {
    let vanished = 0;
    for (const app of this.#believed) if (!apps.has(app)) vanished += 1;
    return vanished > suspiciousApps && vanished > this.#believed.size * suspiciousShare;
  }
}
