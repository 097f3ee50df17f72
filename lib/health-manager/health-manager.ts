import { randomBytes } from 'node:crypto';
import type { Bus, Subscription } from '../bus/bus.js';
import { createNatsBus } from '../bus/nats-bus.js';
import { errorData, type Logger } from '../logging/logger.js';
import { ComponentMetrics } from '../metrics/component-metrics.js';
import type { MetricSink } from '../metrics/metric-sink.js';
import { Metrics } from '../metrics/metrics.js';
import type { Component } from '../process/program.js';
import { ApiServer } from './api/api-server.js';
import { AppStateReport } from './api/app-state.js';
import { BusAnswers } from './api/bus-answers.js';
import { LegacyAnswers } from './api/legacy-answers.js';
import { RouterRegistration } from './api/router-registration.js';
import { type HealthManagerConfig, heartbeatTls, natsServers, timesOf } from './config.js';
import { MassStopGuard } from './decisions/mass-stop-guard.js';
import { Evacuator } from './evacuator.js';
import { HeartbeatServer } from './heartbeats/heartbeat-server.js';
import { Listener } from './heartbeats/listener.js';
import { Lock } from './locks/lock.js';
import type { LockBackend } from './locks/lock-backend.js';
import { LockedParts } from './locks/locked-parts.js';
import { subjects } from './messages.js';
import { MetricsServer } from './metrics/metrics-server.js';
import { EvacuationStarts } from './orders/evacuation-starts.js';
import type { Part } from './part.js';
import { Polling } from './polling.js';
import type { HealthStore } from './store/health-store.js';
import { type MetricOrigin, Work } from './work.js';

/** What one process may do of a health manager's work (docs/protocol/health-manager.md §11). */
export const moduleNames = ['listener', 'fetcher', 'analyzer', 'evacuator', 'api', 'metrics', 'shredder'] as const;
export type ModuleName = (typeof moduleNames)[number];

export interface HealthManagerOptions {
  config: HealthManagerConfig;
  store: HealthStore;
  /** Where those who share the store agree who does what; without it this process works alone. */
  lockBackend?: LockBackend;
  /** @default all */
  modules?: readonly ModuleName[];
  /** Address that others are told. */
  localIp: string;
  /** A run took too long, a lock was lost or a part did not start: the process has to end. */
  onAbort(): void;
  logger: Logger;
}

/**
 * A health manager: hears what agents run, asks the Cloud Controller what they should, and orders the difference. Every
 * part works on the store alone, so that each may have a process of its own (docs/protocol/health-manager.md).
 */
export class HealthManager implements Component {
  readonly metrics = new Metrics();
  readonly #bus: Bus;
  readonly #parts: Part[];
  #started: Part[] = [];
  readonly #locks: Lock[] = [];
  #stopping: Promise<void> | undefined;
  #apiServer: ApiServer | undefined;
  #metricsServer: MetricsServer | undefined;
  #heartbeatServer: HeartbeatServer | undefined;

  private constructor(private readonly options: HealthManagerOptions) {
    const { config, logger } = options;
    this.#bus = createNatsBus({ servers: natsServers(config), logger, name: 'hm9000' });
    this.#parts = this.#assemble();
  }

  static create(options: HealthManagerOptions): HealthManager {
    return new HealthManager(options);
  }

  /** Ports that were bound, of the parts that this process has. */
  get ports(): { api?: number; metrics?: number; heartbeats?: number } {
    return {
      ...(this.#apiServer && { api: this.#apiServer.port }),
      ...(this.#metricsServer && { metrics: this.#metricsServer.port }),
      ...(this.#heartbeatServer && { heartbeats: this.#heartbeatServer.port }),
    };
  }

  async start(): Promise<void> {
    const { store, lockBackend, logger } = this.options;
    for (const part of [store, ...(lockBackend ? [lockBackend] : []), this.#bus, ...this.#parts]) {
      if (this.#stopping) return;
      this.#started.push(part);
      await part.start();
    }
    logger.info('HM9000 started', { modules: this.options.modules ?? moduleNames });
  }

  /** Idempotent. */
  stop(): Promise<void> {
    this.#stopping ??= this.#release();
    return this.#stopping;
  }

  async #release(): Promise<void> {
    for (const part of this.#started.reverse()) await part.stop();
    this.options.logger.info('HM9000 stopped');
  }

  #assemble(): Part[] {
    const { config, store, logger, localIp, onAbort, modules = moduleNames } = this.options;
    const bus = this.#bus;
    const metrics = new ComponentMetrics<MetricOrigin>({
      kept: this.metrics,
      dropsondePort: config.dropsonde_port,
      logger,
    });
    const times = timesOf(config);
    const work = new Work({
      config,
      store,
      bus,
      metrics,
      guard: config.mass_stop_guard ? new MassStopGuard() : undefined,
      mayOrder: () => this.#locks.every((lock) => !lock.isLost),
      logger,
    });
    const evacuationStarts = new EvacuationStarts({
      store,
      sender: work.sender,
      gracePeriod: times.analysis.gracePeriod,
      logger,
    });
    const polling = (
      name: string,
      { interval, timeout }: { interval: number; timeout: number },
      run: (signal: AbortSignal) => Promise<void>,
    ) => new Polling({ name, interval, timeout, run, onTimeout: onAbort, logger });

    const byName: Record<ModuleName, () => Part[]> = {
      listener: () => this.#listening(evacuationStarts, metrics.of('listener')),
      fetcher: () => [polling('Fetcher', times.fetching, (signal) => work.fetcher.fetch(signal))],
      analyzer: () => {
        const analyzeAndSend = async (signal: AbortSignal) => {
          await work.analyzer.analyze();
          await work.sender.send(signal);
        };
        return [polling('Analyzer', times.analyzing, analyzeAndSend)];
      },
      evacuator: () => [new Evacuator({ bus, evacuationStarts, metrics: metrics.of('evacuator'), logger })],
      api: () => this.#answering(),
      metrics: () => {
        this.#metricsServer = new MetricsServer({
          host: config.api_server_address,
          port: config.metrics_server_port,
          credentials: {
            user: config.metrics_server_user || randomWord(),
            password: config.metrics_server_password || randomWord(),
          },
          ip: localIp,
          metrics: this.metrics,
        });
        return [this.#metricsServer];
      },
      shredder: () => [polling('Shredder', times.shredding, () => store.compact())],
    };
    const parts = moduleNames
      .filter((name) => modules.includes(name))
      .flatMap((name) => this.#locked(name, byName[name]()));
    return [closing(work), metrics, ...parts];
  }

  /** Answers and figures may come from any number of processes; the rest is done by one at a time. */
  #locked(name: ModuleName, parts: Part[]): Part[] {
    const { lockBackend: backend, onAbort, logger } = this.options;
    if (!backend || name === 'api' || name === 'metrics') return parts;
    const lock = new Lock({ component: name, backend, onLost: onAbort, logger });
    this.#locks.push(lock);
    const onFailure = (error: unknown) => {
      logger.fatal(`${name}.start-failed`, errorData(error));
      onAbort();
    };
    return [new LockedParts({ lock, parts, onFailure })];
  }

  #listening(evacuationStarts: EvacuationStarts, metrics: MetricSink): Part[] {
    const { config, store, logger } = this.options;
    const times = timesOf(config);
    const listener = new Listener({
      store,
      evacuationStarts,
      metrics,
      flushIntervalMs: config.listener_heartbeat_sync_interval_in_milliseconds,
      slowSaveMs: times.slowSaveMs,
      advertisementsCountAfterMs: config.fresh_on_advertise ? times.store.actualFreshnessTtl * 1000 : undefined,
      logger,
    });
    const heard: Part[] = [
      listener,
      subscribing(() => this.#bus.subscribeBytes(subjects.heartbeat, (payload) => listener.receiveOrDrop(payload))),
    ];
    if (config.fresh_on_advertise) {
      heard.push(
        subscribing(() => this.#bus.subscribeBytes(subjects.advertise, () => listener.receiveAdvertisement())),
      );
    }
    if (!config.ssl) return heard;
    this.#heartbeatServer = new HeartbeatServer({
      host: config.http_heartbeat_server_address,
      port: config.http_heartbeat_port,
      tls: heartbeatTls(config.ssl),
      listener,
    });
    return [...heard, this.#heartbeatServer];
  }

  #answering(): Part[] {
    const { config, store, localIp, logger } = this.options;
    const report = new AppStateReport(store);
    const server = new ApiServer({
      host: config.api_server_address,
      port: config.api_server_port,
      credentials: { user: config.api_server_username, password: config.api_server_password },
      report,
      store,
      defaultHoldSeconds: config.migration_hold_seconds,
      logger,
    });
    this.#apiServer = server;
    const answers: Part[] = [server, new BusAnswers({ bus: this.#bus, report })];
    if (config.legacy_health_subjects) {
      const flappingCrashCount = config.number_of_crashes_before_backoff_begins;
      answers.push(new LegacyAnswers({ bus: this.#bus, store, flappingCrashCount }));
    }
    if (config.api_server_url === '') return answers;
    const registration = { bus: this.#bus, url: config.api_server_url, host: localIp, port: config.api_server_port };
    return [...answers, new RouterRegistration(registration)];
  }
}

function closing(resource: { close(): Promise<void> }): Part {
  return { start() {}, stop: () => resource.close() };
}

function subscribing(subscribe: () => Subscription): Part {
  let subscription: Subscription | undefined;
  return {
    start() {
      subscription = subscribe();
    },
    stop() {
      subscription?.unsubscribe();
    },
  };
}

function randomWord(): string {
  return randomBytes(16).toString('hex');
}
