import type { Bus } from '../bus/bus.js';
import type { Logger } from '../logging/logger.js';
import type { ComponentMetrics } from '../metrics/component-metrics.js';
import { Analyzer } from './analyzer.js';
import { type HealthManagerConfig, timesOf } from './config.js';
import type { MassStopGuard } from './decisions/mass-stop-guard.js';
import { StartBudget } from './decisions/start-budget.js';
import { VersionChangeHolds } from './decisions/version-change.js';
import { BulkApi } from './desired/bulk-api.js';
import { BulkCredentials } from './desired/bulk-credentials.js';
import { Fetcher } from './desired/fetcher.js';
import { type ChosenTransport, chooseTransport } from './orders/choose-transport.js';
import { Sender } from './orders/sender.js';
import type { HealthStore } from './store/health-store.js';

/** Components that have figures; also the origin that Metron is told (docs/protocol/health-manager.md §9). */
export type MetricOrigin = 'listener' | 'fetcher' | 'analyzer' | 'evacuator';

export interface WorkOptions {
  config: HealthManagerConfig;
  store: HealthStore;
  bus: Bus;
  metrics: ComponentMetrics<MetricOrigin>;
  /** Doubts a Cloud Controller that suddenly wants hardly anything; needs the fetches of this process. */
  guard?: MassStopGuard | undefined;
  /** While it says no, nothing is sent: somebody else may be at it. @default always */
  mayOrder?: () => boolean;
  logger: Logger;
}

/** What a health manager does in turns, again and again or once: fetch, analyze, send. */
export class Work {
  readonly fetcher: Fetcher;
  readonly analyzer: Analyzer;
  readonly sender: Sender;
  readonly #bulkApi: BulkApi;
  readonly #chosen: ChosenTransport;

  constructor({ config, store, bus, metrics, guard, mayOrder, logger }: WorkOptions) {
    const isHoldingStops = () => guard?.isHolding === true;
    this.#bulkApi = new BulkApi({
      baseUrl: config.cc_base_url,
      batchSize: config.desired_state_batch_size,
      timeoutMs: config.fetcher_network_timeout_in_seconds * 1000,
      verifiesCertificate: !config.skip_cert_verify,
    });
    const credentials = new BulkCredentials({
      bus,
      user: config.cc_auth_user,
      password: config.cc_auth_password,
      partition: config.cc_partition,
      logger,
    });
    this.fetcher = new Fetcher({
      store,
      bulkApi: this.#bulkApi,
      credentials,
      ...(guard && { guard }),
      metrics: metrics.of('fetcher'),
      logger,
    });
    this.#chosen = chooseTransport({ config, bus, store, logger });
    const times = timesOf(config);
    this.sender = new Sender({
      store,
      transport: this.#chosen.transport,
      startsPerPass: config.sender_message_limit,
      startBudget: new StartBudget({ perSecond: config.max_starts_per_second, burst: config.sender_message_limit }),
      longestDelay: 2 * times.analysis.maximumDelay,
      isHoldingStops,
      ...(mayOrder && { mayOrder }),
      metrics: metrics.of('analyzer'),
      logger,
    });
    const holdSeconds = config.version_change_hold_seconds;
    this.analyzer = new Analyzer({
      store,
      settings: times.analysis,
      isHoldingStops,
      ...(holdSeconds > 0 && { versionChangeHolds: new VersionChangeHolds(holdSeconds) }),
      metrics: metrics.of('analyzer'),
    });
  }

  /** Cuts what is under way. Idempotent. */
  async close(): Promise<void> {
    await Promise.all([this.#bulkApi.close(), this.#chosen.close()]);
  }
}
