const longestTimeoutMs = 2 ** 31 - 1;

/** Elapses when nobody held it for a whole period. */
export class GraceTimer {
  readonly #onElapsed: () => void;
  #periodMs = 0;
  #holders = 0;
  #timer: NodeJS.Timeout | undefined;
  #isStopped = false;

  constructor(onElapsed: () => void) {
    this.#onElapsed = onElapsed;
  }

  /** Starts a new period; 0 disables. */
  setPeriod(periodMs: number): void {
    this.#periodMs = periodMs;
    this.#arm();
  }

  /** Pauses the countdown until the returned function is called; it then begins anew. */
  hold(): () => void {
    this.#holders += 1;
    clearTimeout(this.#timer);
    let isHeld = true;
    return () => {
      if (!isHeld) return;
      isHeld = false;
      this.#holders -= 1;
      this.#arm();
    };
  }

  /** Idempotent. */
  stop(): void {
    this.#isStopped = true;
    clearTimeout(this.#timer);
  }

  #arm(): void {
    clearTimeout(this.#timer);
    if (this.#periodMs <= 0 || this.#holders > 0 || this.#isStopped) return;
    this.#countDown(this.#periodMs);
  }

  /** In steps, because a timer runs for no more than 24 days; one that is set to more fires at once. */
  #countDown(remainingMs: number): void {
    const stepMs = Math.min(remainingMs, longestTimeoutMs);
    this.#timer = setTimeout(() => {
      if (remainingMs > stepMs) this.#countDown(remainingMs - stepMs);
      else this.#onElapsed();
    }, stepMs);
  }
}
