/** Fires once when a thing was not referred to for its grace time. What is under way counts as one long reference. */
export class GraceTimer {
  private timer: NodeJS.Timeout | undefined;
  private graceTimeMs = 0;
  private references = 0;

  constructor(private readonly onExpired: () => void) {}

  /** Sets the time, from now on; 0: never. */
  set(graceTimeMs: number): void {
    this.graceTimeMs = graceTimeMs;
    this.restart();
  }

  restart(): void {
    clearTimeout(this.timer);
    if (this.graceTimeMs > 0 && this.references === 0) this.timer = setTimeout(this.onExpired, this.graceTimeMs);
  }

  /** Holds the timer until the operation is over. */
  async during<T>(operation: () => Promise<T>): Promise<T> {
    this.references += 1;
    this.restart();
    try {
      return await operation();
    } finally {
      this.references -= 1;
      this.restart();
    }
  }
}
