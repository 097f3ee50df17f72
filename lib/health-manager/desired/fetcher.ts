import type { Logger } from '../../logging/logger.js';
import type { MetricSink } from '../../metrics/metric-sink.js';
import type { MassStopGuard } from '../decisions/mass-stop-guard.js';
import type { HealthStore } from '../store/health-store.js';
import type { BulkApi } from './bulk-api.js';
import type { BulkCredentials } from './bulk-credentials.js';

export interface FetcherOptions {
  store: HealthStore;
  bulkApi: BulkApi;
  credentials: BulkCredentials;
  guard?: MassStopGuard;
  metrics: MetricSink;
  logger: Logger;
}

/** Brings the desired state from the Cloud Controller to the store. */
export class Fetcher {
  constructor(private readonly options: FetcherOptions) {}

  /** @throws FetchError; the store is then as it was */
  async fetch(signal: AbortSignal): Promise<void> {
    const { store, bulkApi, credentials, guard, metrics, logger } = this.options;
    const begun = performance.now();
    const apps = await bulkApi.fetchDesired(await credentials.get(signal), signal);
    guard?.noteFetch(new Set(apps.map(({ app }) => app)));
    if (guard?.isHolding)
      logger.error('Most apps vanished from the desired state; holding stops', { left: apps.length });
    await store.syncDesired(apps);
    metrics.set('DesiredStateSyncTimeInMilliseconds', performance.now() - begun);
    logger.info('Fetched desired state', { apps: apps.length });
  }
}
