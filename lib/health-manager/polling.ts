import { setTimeout as delay } from 'node:timers/promises';
import { errorData, type Logger } from '../logging/logger.js';

export interface PollingOptions {
  name: string;
  /** Seconds from the start of a run to the start of the next. */
  interval: number;
  /** Seconds that a run may take. */
  timeout: number;
  run(signal: AbortSignal): Promise<void>;
  /** A run took too long: what hangs cannot be trusted to end (docs/protocol/health-manager.md §1). */
  onTimeout(): void;
  logger: Logger;
}

/**
 * Does something again and again, the first time at once. An interval counts from the start of a run; an error of a run
 * is logged, and the next comes as if nothing was.
 */
export class Polling {
  readonly #stopped = new AbortController();
  #running: Promise<void> | undefined;

  constructor(private readonly options: PollingOptions) {}

  start(): void {
    this.#running ??= this.#poll();
  }

  /** Breaks off what is under way. Idempotent. */
  async stop(): Promise<void> {
    this.#stopped.abort();
    await this.#running;
  }

  async #poll(): Promise<void> {
    const { signal } = this.#stopped;
    while (!signal.aborted) {
      const begun = performance.now();
      await this.#runOnce();
      const pauseMs = Math.max(0, this.options.interval * 1000 - (performance.now() - begun));
      await delay(pauseMs, undefined, { signal }).catch(() => {});
    }
  }

  async #runOnce(): Promise<void> {
    const { name, run, timeout, onTimeout, logger } = this.options;
    const { signal } = this.#stopped;
    const timer = setTimeout(() => {
      logger.fatal(`${name} timed out. Aborting!`, { seconds: timeout });
      onTimeout();
    }, timeout * 1000);
    const begun = performance.now();
    try {
      await run(signal);
      logger.debug(`${name} is done`, { seconds: (performance.now() - begun) / 1000 });
    } catch (error) {
      if (!signal.aborted) logger.error(`${name} failed`, errorData(error));
    } finally {
      clearTimeout(timer);
    }
  }
}
