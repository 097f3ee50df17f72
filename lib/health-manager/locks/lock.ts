import { randomUUID } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import { errorData, type Logger } from '../../logging/logger.js';
import type { LockBackend } from './lock-backend.js';

export interface LockOptions {
  /** Whose lock it is: `listener`, `analyzer`, `evacuator`, `shredder`. */
  component: string;
  backend: LockBackend;
  /** Somebody else may have the lock from now on: no further order. Called once at most, and not after `release`. */
  onLost(): void;
  logger: Logger;
  /** Time that a holder who falls silent keeps the lock. @default 15000 */
  ttlMs?: number;
  /** @default 5000 */
  renewIntervalMs?: number;
  /** Time between two attempts to get a lock that another has, or to renew after a failure. @default 250 */
  retryIntervalMs?: number;
}

/**
 * A lock that one process has at a time (docs/protocol/health-manager.md §10).
 *
 * ```
 *  free --acquire--> waiting --taken--> held --release--> free
 *                       |                |
 *                    aborted           lost: another has it, it was deleted, or not renewed in time
 *                       v                v
 *                     free              lost (for good; the process ends)
 * ```
 *
 * Time goes by the monotonic clock, from before a renewal was asked for: a holder that was stopped, or whose renewals
 * fail, knows by itself that its time is over, not later than the backend does.
 */
export class Lock {
  readonly #token = randomUUID();
  #state: 'free' | 'held' | 'lost' = 'free';
  /** Until when the lock is ours for sure; milliseconds of the monotonic clock. */
  #deadline = 0;
  #timer: NodeJS.Timeout | undefined;
  #renewing: Promise<void> | undefined;

  constructor(private readonly options: LockOptions) {}

  /** Whether the lock is ours at this moment. To be asked before each order. */
  get isHeld(): boolean {
    if (this.#state === 'held' && performance.now() >= this.#deadline) this.#lose('its time was over');
    return this.#state === 'held';
  }

  /** Whether it was ours and is not any more, so that nothing may be ordered. */
  get isLost(): boolean {
    return !this.isHeld && this.#state === 'lost';
  }

  /**
   * Waits for the lock, however long that takes and whatever the backend's condition.
   *
   * @throws the signal's reason
   */
  async acquire(signal: AbortSignal): Promise<void> {
    if (this.#state !== 'free') throw new Error(`the lock of ${this.options.component} is ${this.#state}`);
    this.#log('acquiring-lock');
    let lastFailure: string | undefined;
    for (;;) {
      signal.throwIfAborted();
      try {
        if (await this.#take()) break;
        lastFailure = undefined;
      } catch (error) {
        const failure = String(error);
        if (failure !== lastFailure) this.#warn('acquire-lock-failed', error);
        lastFailure = failure;
      }
      await delay(this.#retryIntervalMs, undefined, { signal }).catch(() => {});
    }
    if (signal.aborted) {
      await this.#free();
      signal.throwIfAborted();
    }
    this.#state = 'held';
    this.#log('acquire-lock-succeeded');
    this.#scheduleRenewal(this.options.renewIntervalMs ?? 5000);
  }

  /** Gives the lock back, so that another need not wait for its end. Idempotent; does nothing without the lock. */
  async release(): Promise<void> {
    clearTimeout(this.#timer);
    if (this.#state !== 'held') return;
    this.#state = 'free';
    this.#log('releasing-lock');
    await this.#renewing;
    await this.#free();
  }

  get #ttlMs(): number {
    return this.options.ttlMs ?? 15_000;
  }

  get #retryIntervalMs(): number {
    return this.options.retryIntervalMs ?? 250;
  }

  async #take(): Promise<boolean> {
    const { backend, component } = this.options;
    const asked = performance.now();
    if (!(await backend.take(component, this.#token, this.#ttlMs))) return false;
    this.#deadline = asked + this.#ttlMs;
    return performance.now() < this.#deadline;
  }

  #scheduleRenewal(inMs: number): void {
    const untilDeadline = Math.max(0, this.#deadline - performance.now());
    this.#timer = setTimeout(
      () => {
        this.#renewing = this.#renew();
      },
      Math.min(inMs, untilDeadline),
    );
  }

  async #renew(): Promise<void> {
    if (!this.isHeld) return;
    const { backend, component, renewIntervalMs = 5000 } = this.options;
    const asked = performance.now();
    // A renewal that hangs must not hide that the time is over.
    this.#timer = setTimeout(() => this.isHeld, this.#deadline - asked + 1);
    try {
      const isOurs = await backend.renew(component, this.#token, this.#ttlMs);
      clearTimeout(this.#timer);
      if (!this.isHeld) return;
      if (!isOurs) return this.#lose('it is not ours any more');
      this.#deadline = asked + this.#ttlMs;
      this.#scheduleRenewal(renewIntervalMs);
    } catch (error) {
      clearTimeout(this.#timer);
      if (!this.isHeld) return;
      this.#warn('renew-lock-failed', error);
      this.#scheduleRenewal(this.#retryIntervalMs);
    }
  }

  #lose(reason: string): void {
    clearTimeout(this.#timer);
    this.#state = 'lost';
    this.options.logger.error(`${this.options.component}.lock.lost-lock`, { reason });
    this.options.onLost();
  }

  /** A lock that cannot be freed ends by itself. */
  async #free(): Promise<void> {
    const { backend, component } = this.options;
    await backend.free(component, this.#token).catch((error: unknown) => this.#warn('release-lock-failed', error));
  }

  #log(message: string): void {
    this.options.logger.info(`${this.options.component}.lock.${message}`);
  }

  #warn(message: string, error: unknown): void {
    this.options.logger.warn(`${this.options.component}.lock.${message}`, errorData(error));
  }
}
