import type { Logger } from '../logging/logger.js';
import { createLoggregator, type Loggregator } from '../loggregator/loggregator.js';
import type { MetricSink } from './metric-sink.js';
import type { Metrics } from './metrics.js';

export interface ComponentMetricsOptions {
  /** Where the figures of all components are kept together. */
  kept: Metrics;
  /** Port of a Metron on this machine; 0: there is none. */
  dropsondePort: number;
  logger: Logger;
}

const unit = 'Metric';

/** The figures of a process: kept for those who ask, and told to a Metron, in the name of the component they are of. */
export class ComponentMetrics<Origin extends string> {
  readonly #loggregators = new Map<Origin, Loggregator>();

  constructor(private readonly options: ComponentMetricsOptions) {}

  /** To be called before `start`. */
  of(origin: Origin): MetricSink {
    const { kept, dropsondePort } = this.options;
    if (dropsondePort === 0) return kept;
    const loggregator = this.#loggregatorOf(origin, dropsondePort);
    return {
      set(name, value, tags) {
        kept.set(name, value, tags);
        loggregator.emit({ kind: 'ValueMetric', name, value, unit, tags });
      },
      add(name, delta, tags) {
        kept.add(name, delta, tags);
        if (delta !== 0) loggregator.emit({ kind: 'CounterEvent', name, delta, tags });
      },
    };
  }

  start(): void {
    for (const loggregator of this.#loggregators.values()) loggregator.start();
  }

  /** Sends what waits. Idempotent. */
  async stop(): Promise<void> {
    await Promise.all([...this.#loggregators.values()].map((loggregator) => loggregator.stop()));
  }

  #loggregatorOf(origin: Origin, port: number): Loggregator {
    let loggregator = this.#loggregators.get(origin);
    if (!loggregator) {
      const { logger } = this.options;
      loggregator = createLoggregator({ origin, router: { host: '127.0.0.1', port }, clock: Date.now, logger });
      this.#loggregators.set(origin, loggregator);
    }
    return loggregator;
  }
}
