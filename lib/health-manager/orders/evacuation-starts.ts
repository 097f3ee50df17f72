import { randomUUID } from 'node:crypto';
import { errorData, type Logger } from '../../logging/logger.js';
import type { MetricSink } from '../../metrics/metric-sink.js';
import { evacuationPriority } from '../decisions/analysis.js';
import type { PendingStart } from '../records.js';
import type { AppVersion, HealthStore } from '../store/health-store.js';
import type { Sender } from './sender.js';

/** An index that is about to lose its instance. */
export interface Evacuee extends AppVersion {
  index: number;
}

export interface EvacuationStartsOptions {
  store: HealthStore;
  sender: Sender;
  /** Seconds for which one start of an index is enough. */
  gracePeriod: number;
  logger: Logger;
}

/**
 * Orders a substitute for what evacuates, at once: kept first, so that it goes with the next pass if it cannot go now.
 * Two who tell of the same evacuation cause one start (docs/protocol/health-manager.md §2.3, §7).
 */
export class EvacuationStarts {
  /** Unix seconds until which an index has its start. */
  readonly #ordered = new Map<string, number>();

  constructor(private readonly options: EvacuationStartsOptions) {}

  /**
   * @param metrics of the component that has heard of them
   * @throws when the store cannot keep them
   */
  async order(evacuees: Evacuee[], metrics: MetricSink): Promise<void> {
    if (evacuees.length === 0) return;
    const { store, sender, gracePeriod, logger } = this.options;
    const now = await store.now();
    this.#forget(now);
    const wanted = await this.#wanted(evacuees.filter((evacuee) => !this.#ordered.has(keyOf(evacuee))));
    if (wanted.length === 0) return;
    const starts = wanted.map((evacuee) => startOf(evacuee, now, gracePeriod));
    await store.saveOrders({ crashCounts: [], starts, stops: [] });
    for (const evacuee of wanted) this.#ordered.set(keyOf(evacuee), now + gracePeriod);
    await sender.sendNow(starts, metrics).catch((error: unknown) => {
      logger.warn('Evacuation starts wait for the next pass', { count: starts.length, ...errorData(error) });
    });
  }

  /** While the desired state is known, nobody is replaced who is not wanted. */
  async #wanted(evacuees: Evacuee[]): Promise<Evacuee[]> {
    const { store } = this.options;
    if (evacuees.length === 0 || !(await store.freshness()).isDesiredFresh) return evacuees;
    const apps = await store.getApps(evacuees);
    return evacuees.filter(({ index }, position) => index < (apps[position]?.desired?.instances ?? 0));
  }

  #forget(now: number): void {
    for (const [key, until] of this.#ordered) if (until <= now) this.#ordered.delete(key);
  }
}

function keyOf({ app, version, index }: Evacuee): string {
  return `${app},${version},${index}`;
}

function startOf({ app, version, index }: Evacuee, now: number, gracePeriod: number): PendingStart {
  return {
    messageId: randomUUID(),
    app,
    version,
    index,
    sendOn: now,
    sentOn: 0,
    keepAlive: gracePeriod,
    priority: evacuationPriority,
    // It runs still, and that must not keep its substitute away.
    skipVerification: true,
    reason: 'EVACUATING',
  };
}
