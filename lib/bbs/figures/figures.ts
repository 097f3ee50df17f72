import { readdir } from 'node:fs/promises';
import { DatabaseFigures } from '../../database/database-figures.js';
import type { Logger } from '../../logging/logger.js';
import { ComponentMetrics } from '../../metrics/component-metrics.js';
import type { MetricSink } from '../../metrics/metric-sink.js';
import { Metrics } from '../../metrics/metrics.js';
import { ConvergenceFigures } from './convergence-figures.js';
import { RequestFigures } from './request-figures.js';

export interface FiguresOptions {
  /** Port of a Metron on this machine; 0: there is none. */
  dropsondePort: number;
  countedRoutes: ReadonlySet<string>;
  timedRoutes: ReadonlySet<string>;
  /** Of requests, lock and file descriptors, ms. */
  intervalMs: number;
  isLockHeld: () => boolean;
  logger: Logger;
}

const convergenceIntervalMs = 15_000;
const nanosecondsPerMs = 1e6;

/** All figures of the board, by upstream's names (docs/protocol/bbs.md §18): kept here, and told to a Metron. */
export class Figures {
  readonly kept = new Metrics();
  readonly sink: MetricSink;
  readonly requests: RequestFigures;
  readonly convergence: ConvergenceFigures;
  /** Hears of the database's work. */
  readonly database = new DatabaseFigures();
  readonly #metron: ComponentMetrics<'bbs'>;
  #timers: NodeJS.Timeout[] = [];

  constructor(private readonly options: FiguresOptions) {
    const { dropsondePort, countedRoutes, timedRoutes, logger } = options;
    this.#metron = new ComponentMetrics<'bbs'>({ kept: this.kept, dropsondePort, logger });
    this.sink = this.#metron.of('bbs');
    this.requests = new RequestFigures({ sink: this.sink, countedRoutes, timedRoutes });
    this.convergence = new ConvergenceFigures(this.sink, this.kept);
  }

  start(): void {
    this.#metron.start();
    this.#timers = [
      setInterval(() => this.#closeInterval(), this.options.intervalMs),
      setInterval(() => this.convergence.report(), convergenceIntervalMs),
    ];
  }

  /** Idempotent. */
  async stop(): Promise<void> {
    for (const timer of this.#timers) clearInterval(timer);
    await this.#metron.stop();
  }

  /** Everything as it is now; the longest durations stay those of the last interval, whoever asks in between. */
  async refresh(): Promise<void> {
    this.requests.count();
    this.convergence.report();
    this.sink.set('LockHeld', this.options.isLockHeld() ? 1 : 0);
    this.#reportDatabase();
    const descriptors = await readdir('/proc/self/fd').catch(() => undefined);
    if (descriptors) this.sink.set('OpenFileDescriptors', descriptors.length);
  }

  /** What a start does once to the whole database. */
  once(name: 'MigrationDuration' | 'EncryptionDuration', durationMs: number): void {
    this.sink.set(name, durationMs * nanosecondsPerMs);
  }

  #reportDatabase(): void {
    const { queries, openConnections, waitCount, waitedMs } = this.database;
    this.sink.set('DBOpenConnections', openConnections);
    this.sink.set('DBWaitCount', waitCount);
    this.sink.set('DBWaitDuration', waitedMs * nanosecondsPerMs);
    this.sink.set('DBQueriesTotal', queries.started);
    this.sink.set('DBQueriesSucceeded', queries.succeeded);
    this.sink.set('DBQueriesFailed', queries.failed);
    this.sink.set('DBQueriesInFlight', queries.inFlight);
  }

  #closeInterval(): void {
    this.requests.closeInterval();
    this.sink.set('DBQueryDurationMax', this.database.queries.takeLongest() * nanosecondsPerMs);
    void this.refresh();
  }
}
