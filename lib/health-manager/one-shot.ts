import type { Bus } from '../bus/bus.js';
import { createNatsBus } from '../bus/nats-bus.js';
import type { Logger } from '../logging/logger.js';
import { ComponentMetrics } from '../metrics/component-metrics.js';
import { Metrics } from '../metrics/metrics.js';
import { type HealthManagerConfig, natsServers, timesOf } from './config.js';
import type { Part } from './part.js';
import type { HealthStore } from './store/health-store.js';
import { type MetricOrigin, Work } from './work.js';

/** What may be done once, by upstream's names (docs/protocol/health-manager.md §11). */
export const oneShotNames = ['fetch_desired', 'analyze', 'send', 'shred'] as const;
export type OneShotName = (typeof oneShotNames)[number];

export interface OneShotOptions {
  name: OneShotName;
  config: HealthManagerConfig;
  store: HealthStore;
  /** The run takes longer than it may: the process has to end. */
  onTimeout(): void;
  logger: Logger;
}

const busLimitMs = 5000;

/**
 * One run of a part of a health manager's work, without a lock: whoever asks for it sees to it that nobody else is at it.
 *
 * @throws what the run fails with, also when the store or NATS cannot be reached
 */
export async function runOnce({ name, config, store, onTimeout, logger }: OneShotOptions): Promise<void> {
  const bus = createNatsBus({ servers: natsServers(config), logger, name: 'hm9000' });
  const metrics = new ComponentMetrics<MetricOrigin>({
    kept: new Metrics(),
    dropsondePort: config.dropsonde_port,
    logger,
  });
  const work = new Work({ config, store, bus, metrics, logger });
  const parts: Part[] = [store, { start() {}, stop: () => work.close() }];
  if (name !== 'shred') parts.push(metrics, connecting(bus));
  const timer = setTimeout(onTimeout, secondsFor(name, config) * 1000);
  const started: Part[] = [];
  try {
    for (const part of parts) {
      started.push(part);
      await part.start();
    }
    await does(name, work, store);
  } finally {
    clearTimeout(timer);
    for (const part of started.reverse()) await part.stop();
  }
}

async function does(name: OneShotName, { fetcher, analyzer, sender }: Work, store: HealthStore): Promise<void> {
  const { signal } = new AbortController();
  switch (name) {
    case 'fetch_desired':
      return fetcher.fetch(signal);
    case 'analyze':
      await fetcher.fetch(signal);
      await analyzer.analyze();
      return sender.send();
    case 'send':
      return sender.send();
    case 'shred':
      return store.compact();
  }
}

function secondsFor(name: OneShotName, config: HealthManagerConfig): number {
  const { fetching, analyzing, sending, shredding } = timesOf(config);
  const seconds = {
    fetch_desired: fetching.timeout,
    analyze: fetching.timeout + analyzing.timeout,
    send: sending.timeout,
    shred: shredding.timeout,
  };
  return seconds[name];
}

/** The bus, started once it is connected. */
function connecting(bus: Bus): Part {
  return {
    start: () =>
      new Promise<void>((resolve, reject) => {
        const limit = () => reject(new Error(`no NATS server answers within ${busLimitMs / 1000} s`));
        const timer = setTimeout(limit, busLimitMs);
        bus.onConnect(() => {
          clearTimeout(timer);
          resolve();
        });
        void bus.start();
      }),
    stop: () => bus.stop(),
  };
}
