import { setTimeout as delay } from 'node:timers/promises';
import { errorData } from '../../logging/logger.js';
import { LockCollision } from '../lock-store.js';
import { Claimant } from './claimant.js';
import { FirstHold } from './first-hold.js';
import { type Runner, type RunnerOptions, runnerDefaults, valueSource } from './runner.js';
import { WaitingLog } from './waiting-log.js';

export interface PresenceRunnerOptions extends RunnerOptions {
  /** Others may take the component for gone. It goes on trying. @default nothing */
  onLost?(): void;
  /** The presence is there; again after each loss. @default nothing */
  onHeld?(): void;
}

/** That a component is there, said again and again, whatever happens (docs/protocol/edge.md §8.2). */
export class PresenceRunner implements Runner {
  readonly #claimant: Claimant;
  readonly #firstHold = new FirstHold();
  readonly #log: WaitingLog;
  readonly #stopped = new AbortController();
  #isHeld = false;
  #running: Promise<void> | undefined;
  #stopping: Promise<void> | undefined;
  #wake: AbortController | undefined;

  constructor(private readonly options: PresenceRunnerOptions) {
    const { locks, key, owner, ttlMs = runnerDefaults.ttlMs } = options;
    this.#claimant = new Claimant({ locks, key, owner, type: 'presence', value: valueSource(options), ttlMs });
    this.#log = new WaitingLog(options);
  }

  start(): void {
    if (this.#stopping) return;
    this.#running ??= this.#run();
  }

  whenHeld(): Promise<void> {
    return this.#firstHold.reached;
  }

  isValid(): boolean {
    return this.#claimant.isValid;
  }

  get token(): number | undefined {
    return this.#claimant.token;
  }

  /** Renews it now: the value has changed. */
  renew(): void {
    this.#wake?.abort();
  }

  stop(): Promise<void> {
    this.#stopping ??= this.#stop();
    return this.#stopping;
  }

  async #stop(): Promise<void> {
    const { key, logger } = this.options;
    this.#claimant.close();
    this.#stopped.abort();
    this.#wake?.abort();
    this.#firstHold.giveUp(new Error(`${key}: stopped before it was held`));
    if (!this.#running) return;
    await this.#running;
    try {
      await this.#claimant.release(this.#claimant.tenure.renewalMs);
    } catch (error) {
      if (!(error instanceof LockCollision)) logger.warn('lock.release-failed', { key, ...errorData(error) });
    }
  }

  async #run(): Promise<void> {
    const { retryIntervalMs = runnerDefaults.retryIntervalMs } = this.options;
    const { tenure } = this.#claimant;
    const { signal } = this.#stopped;
    while (!signal.aborted) {
      const asked = performance.now();
      const wake = new AbortController();
      this.#wake = wake;
      const remaining = tenure.remainingAt(asked);
      const attempt = await this.#claimant.attempt(
        remaining > 0 ? Math.min(tenure.renewalMs, remaining) : tenure.renewalMs,
      );
      if (signal.aborted) return;
      if (attempt.kind === 'collision') tenure.end(performance.now());
      this.#report();
      if (attempt.kind === 'granted') this.#log.clear();
      else await this.#log.note(attempt);
      const untilNext = this.#isHeld ? Math.min(tenure.renewalMs, tenure.remainingAt(asked)) : retryIntervalMs;
      await delay(Math.ceil(Math.max(0, asked + untilNext - performance.now())), undefined, {
        signal: wake.signal,
      }).catch(() => {});
      this.#report();
    }
  }

  #report(): void {
    const { key, logger, onHeld, onLost } = this.options;
    const isHeld = this.#claimant.isValid;
    if (isHeld === this.#isHeld || this.#stopped.signal.aborted) return;
    this.#isHeld = isHeld;
    if (isHeld) {
      logger.info('lock.acquired-lock', { key });
      this.#firstHold.reach();
      onHeld?.();
    } else {
      logger.warn('lock.lost-lock', { key });
      onLost?.();
    }
  }
}
