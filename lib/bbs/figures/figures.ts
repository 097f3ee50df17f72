import { readdir } from 'node:fs/promises';
import type { QueryObserver } from '../../database/query-observer.js';
import type { Logger } from '../../logging/logger.js';
import { ComponentMetrics } from '../../metrics/component-metrics.js';
import { Measured } from '../../metrics/measured.js';
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
  readonly #queries = new Measured();
  /** Hears of the database's work. */
  readonly queries: QueryObserver = {
    started: () => this.#queries.start(),
    ended: (hasSucceeded, durationMs) => this.#queries.end(hasSucceeded ? 'succeeded' : 'failed', durationMs),
  };
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
      setInterval(() => void this.report(), this.options.intervalMs),
      setInterval(() => this.convergence.report(), convergenceIntervalMs),
    ];
  }

  /** Idempotent. */
  async stop(): Promise<void> {
    for (const timer of this.#timers) clearInterval(timer);
    await this.#metron.stop();
  }

  /** Everything as it is now. */
  async report(): Promise<void> {
    this.requests.report();
    this.convergence.report();
    this.sink.set('LockHeld', this.options.isLockHeld() ? 1 : 0);
    this.#reportQueries();
    const descriptors = await readdir('/proc/self/fd').catch(() => undefined);
    if (descriptors) this.sink.set('OpenFileDescriptors', descriptors.length);
  }

  #reportQueries(): void {
    const { started, succeeded, failed, inFlight } = this.#queries;
    this.sink.set('DBQueriesTotal', started);
    this.sink.set('DBQueriesSucceeded', succeeded);
    this.sink.set('DBQueriesFailed', failed);
    this.sink.set('DBQueriesInFlight', inFlight);
    this.sink.set('DBQueryDurationMax', this.#queries.takeLongest() * nanosecondsPerMs);
  }
}
