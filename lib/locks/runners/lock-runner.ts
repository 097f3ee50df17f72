import { setTimeout as delay } from 'node:timers/promises';
import { errorData } from '../../logging/logger.js';
import { LockCollision } from '../lock-store.js';
import { Claimant } from './claimant.js';
import { FirstHold } from './first-hold.js';
import { type Runner, type RunnerOptions, runnerDefaults, valueSource } from './runner.js';
import { WaitingLog } from './waiting-log.js';

export interface LockRunnerOptions extends RunnerOptions {
  /**
   * Somebody else may have the lock from now on: guarded work must end at once, and the process leave with a status
   * that is not 0. Called once at most, and not after `stop`.
   */
  onLost(reason: string): void;
}

const interrupted = 'it was not ours for a while';
/** Part of the renewal interval after which a renewal that failed at once is tried again. */
const retriesPerRenewal = 10;

/**
 * A lock that one process has at a time.
 *
 * ```
 *  new --start--> waiting --granted--> held --stop--> stopped (released)
 *                    |                  |
 *                   stop               lost: another has it, it was not ours meanwhile, or not renewed in time
 *                    v                  v
 *                 stopped              lost (for good; not released, the process ends)
 * ```
 *
 * A renewal that fails or is slow does not lose it; only an answer does, or the time (docs/protocol/edge.md §8.2).
 */
export class LockRunner implements Runner {
  readonly #claimant: Claimant;
  readonly #firstHold = new FirstHold();
  readonly #log: WaitingLog;
  readonly #stopped = new AbortController();
  #state: 'new' | 'waiting' | 'held' | 'lost' | 'stopped' = 'new';
  #running: Promise<void> | undefined;
  #stopping: Promise<void> | undefined;

  constructor(private readonly options: LockRunnerOptions) {
    const { locks, key, owner, ttlMs = runnerDefaults.ttlMs } = options;
    this.#claimant = new Claimant({ locks, key, owner, type: 'lock', value: valueSource(options), ttlMs });
    this.#log = new WaitingLog(options);
  }

  start(): void {
    if (this.#state !== 'new') return;
    this.#state = 'waiting';
    this.options.logger.info('lock.acquiring-lock', { key: this.options.key });
    this.#running = this.#run();
  }

  whenHeld(): Promise<void> {
    return this.#firstHold.reached;
  }

  isValid(): boolean {
    if (this.#state !== 'held') return false;
    if (!this.#claimant.isValid) this.#lose('it was not renewed in time');
    else if (this.#claimant.wasInterrupted) this.#lose(interrupted);
    return this.#isHeld();
  }

  get token(): number | undefined {
    return this.isValid() ? this.#claimant.token : undefined;
  }

  stop(): Promise<void> {
    this.#stopping ??= this.#stop();
    return this.#stopping;
  }

  async #stop(): Promise<void> {
    const { key, logger } = this.options;
    const state = this.#state;
    if (state !== 'lost') this.#state = 'stopped';
    this.#claimant.close();
    this.#stopped.abort();
    this.#firstHold.giveUp(new Error(`${key}: stopped before it was held`));
    await this.#running;
    if (state !== 'held' && state !== 'waiting') return;
    try {
      await this.#claimant.release(this.#claimant.tenure.renewalMs);
      logger.info('lock.released-lock', { key });
    } catch (error) {
      // One that cannot be released ends by itself.
      if (!(error instanceof LockCollision)) logger.warn('lock.release-failed', { key, ...errorData(error) });
    }
  }

  async #run(): Promise<void> {
    await this.#wait();
    if (this.#state === 'held') await this.#hold();
  }

  async #wait(): Promise<void> {
    const { retryIntervalMs = runnerDefaults.retryIntervalMs, key, logger } = this.options;
    const timeoutMs = Math.max(retryIntervalMs, this.#claimant.tenure.renewalMs);
    while (this.#state === 'waiting') {
      const attempt = await this.#claimant.attempt(timeoutMs);
      if (this.#state !== 'waiting') return;
      if (this.#claimant.isValid) {
        this.#state = 'held';
        this.#log.clear();
        logger.info('lock.acquired-lock', { key, token: this.#claimant.token });
        this.#firstHold.reach();
        return;
      }
      await this.#log.note(attempt);
      await this.#pause(retryIntervalMs);
    }
  }

  async #hold(): Promise<void> {
    const { tenure } = this.#claimant;
    let pauseMs = tenure.renewalMs;
    for (;;) {
      await this.#pause(Math.min(pauseMs, tenure.remainingAt(performance.now())));
      if (!this.isValid()) return;
      const asked = performance.now();
      const attempt = await this.#claimant.attempt(Math.min(tenure.renewalMs, tenure.remainingAt(asked)));
      if (this.#state !== 'held') return;
      if (attempt.kind === 'collision') return this.#lose('another owner has it');
      if (attempt.kind === 'granted-anew') return this.#lose(interrupted);
      if (attempt.kind === 'granted') this.#log.clear();
      else await this.#log.note(attempt);
      const intervalMs = attempt.kind === 'granted' ? tenure.renewalMs : tenure.renewalMs / retriesPerRenewal;
      pauseMs = Math.max(0, asked + intervalMs - performance.now());
    }
  }

  /** After a call that may have lost it. */
  #isHeld(): boolean {
    return this.#state === 'held';
  }

  #lose(reason: string): void {
    const { key, logger, onLost } = this.options;
    this.#state = 'lost';
    this.#claimant.close();
    logger.error('lock.lost-lock', { key, reason });
    onLost(reason);
  }

  async #pause(durationMs: number): Promise<void> {
    // Rounded up: what is waited for is over afterwards.
    await delay(Math.ceil(durationMs), undefined, { signal: this.#stopped.signal }).catch(() => {});
  }
}
