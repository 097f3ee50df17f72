import { type LockStore, resourceTypes } from '../../locks/lock-store.js';
import { errorData, type Logger } from '../../logging/logger.js';
import { createLoggregator, type Loggregator } from '../../loggregator/loggregator.js';
import type { Figure, Figures } from './figures.js';

export interface ReporterOptions {
  store: LockStore;
  figures: Figures;
  intervalMs: number;
  /** Port of a Metron on this machine; 0: there is none. */
  dropsondePort: number;
  logger: Logger;
}

/** Counts what is held, and tells all figures to a Metron, once in each interval. */
export class Reporter {
  readonly #loggregator: Loggregator;
  /** Values of counters that the Metron knows of. */
  readonly #told = new Map<string, number>();
  #timer: NodeJS.Timeout | undefined;
  #reporting: Promise<void> | undefined;
  #stopListening: (() => void) | undefined;

  constructor(private readonly options: ReporterOptions) {
    const { dropsondePort: port, logger } = options;
    const router = port === 0 ? undefined : { host: '127.0.0.1', port };
    this.#loggregator = createLoggregator({ origin: 'locket', router, clock: Date.now, logger });
  }

  start(): void {
    const { store, figures, intervalMs } = this.options;
    this.#loggregator.start();
    this.#stopListening = store.onExpired((expiry) => figures.expired(expiry));
    this.#timer = setInterval(() => this.#reportOnce(), intervalMs);
    this.#reportOnce();
  }

  /** Idempotent. */
  async stop(): Promise<void> {
    clearInterval(this.#timer);
    this.#stopListening?.();
    await this.#reporting;
    await this.#loggregator.stop();
  }

  #reportOnce(): void {
    this.#reporting ??= this.#report().finally(() => {
      this.#reporting = undefined;
    });
  }

  async #report(): Promise<void> {
    const { store, figures, logger } = this.options;
    try {
      for (const type of resourceTypes) figures.active(type, await store.count(type));
    } catch (error) {
      logger.warn('locket.metrics.count-failed', errorData(error));
    }
    figures.closeInterval();
    for (const figure of figures.all()) this.#tell(figure);
  }

  #tell({ name, kind, value, requestType }: Figure): void {
    const tags = requestType && { 'request-type': requestType };
    if (kind === 'gauge') {
      this.#loggregator.emit({ kind: 'ValueMetric', name, value, unit: 'Metric', tags });
      return;
    }
    const key = `${name} ${requestType}`;
    const delta = value - (this.#told.get(key) ?? 0);
    this.#told.set(key, value);
    if (delta > 0) this.#loggregator.emit({ kind: 'CounterEvent', name, delta, tags });
  }
}
