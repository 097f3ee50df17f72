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
    this.#timer = setTimeout(this.#onElapsed, this.#periodMs);
  }
}
