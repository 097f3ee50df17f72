export interface HealthMonitorOptions {
  /** Time between two checks, milliseconds; 0 makes none. */
  intervalMs: number;
  /** One check. May reject once the signal is given. */
  isAnswering(signal: AbortSignal): Promise<boolean>;
  /** Called once, after the checks that failed in a row. */
  onUnhealthy(): void;
}

/** One failure may be a moment of load; three are an app that hangs. */
const failuresUntilUnhealthy = 3;

/**
 * Checks a running app again and again. Off unless the operator asks for it: upstream's agents look only at the
 * process once an app is running (docs/protocol/dea.md §11.1, §26).
 */
export class HealthMonitor {
  private timer: NodeJS.Timeout | undefined;
  private readonly stopped = new AbortController();
  private failures = 0;
  private isChecking = false;

  constructor(private readonly options: HealthMonitorOptions) {}

  /** Idempotent; does nothing once stopped. */
  start(): void {
    const { intervalMs } = this.options;
    if (intervalMs <= 0 || this.timer || this.stopped.signal.aborted) return;
    this.timer = setInterval(() => void this.check(), intervalMs);
  }

  /** For good. Idempotent. */
  stop(): void {
    clearInterval(this.timer);
    this.stopped.abort();
  }

  private async check(): Promise<void> {
    if (this.isChecking) return;
    this.isChecking = true;
    const isAnswering = await this.options.isAnswering(this.stopped.signal).catch(() => false);
    this.isChecking = false;
    if (this.stopped.signal.aborted) return;
    this.failures = isAnswering ? 0 : this.failures + 1;
    if (this.failures < failuresUntilUnhealthy) return;
    this.stop();
    this.options.onUnhealthy();
  }
}
