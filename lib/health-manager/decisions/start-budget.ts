export interface StartBudgetSettings {
  /** Starts that become possible in a second; 0: there is no such limit. */
  perSecond: number;
  /** Starts that may have added up. */
  burst: number;
}

/**
 * How many starts a Cloud Controller is given over time: a bucket that fills steadily up to its brim
 * (docs/protocol/health-manager.md §14). All who send starts share one.
 */
export class StartBudget {
  #left: number;
  #filledAt: number | undefined;

  constructor(private readonly settings: StartBudgetSettings) {
    this.#left = settings.burst;
  }

  /** @param nowMs milliseconds of a clock that does not jump */
  hasRoom(nowMs: number): boolean {
    this.#fill(nowMs);
    return this.settings.perSecond === 0 || this.#left >= 1;
  }

  /** @returns whether a start may go. @param nowMs as for `hasRoom` */
  take(nowMs: number): boolean {
    if (!this.hasRoom(nowMs)) return false;
    this.#left -= 1;
    return true;
  }

  /** A start that was taken from it did not go. */
  giveBack(): void {
    this.#left += 1;
  }

  #fill(nowMs: number): void {
    const { perSecond, burst } = this.settings;
    const seconds = (nowMs - (this.#filledAt ?? nowMs)) / 1000;
    this.#filledAt = nowMs;
    this.#left = Math.min(burst, this.#left + seconds * perSecond);
  }
}
