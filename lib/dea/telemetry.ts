import type { Ledger } from '../cell/ledger.js';
import type { Logger } from '../logging/logger.js';
import { createLoggregator, type Loggregator } from '../loggregator/loggregator.js';
import type { DeaConfig } from './config.js';
import type { InstanceRegistry } from './instances/instance-registry.js';
import { AppLog } from './logs/app-log.js';
import { JobOutputs } from './logs/job-output.js';
import { CellMetrics } from './metrics/cell-metrics.js';
import { emitEngineCall } from './metrics/engine-call.js';

export interface TelemetryOptions {
  config: DeaConfig;
  /** Milliseconds since 1970. */
  clock: () => number;
  logger: Logger;
}

/** What the agent tells a Metron: lines of apps, its own lines about them, and metrics (docs/protocol/dea.md §21). */
export class Telemetry {
  readonly loggregator: Loggregator;
  readonly appLog: AppLog;
  readonly outputs: JobOutputs;
  readonly #options: TelemetryOptions;
  #metrics: CellMetrics | undefined;

  private constructor(options: TelemetryOptions) {
    const { config, clock, logger } = options;
    const { router, shared_secret: sharedSecret, emit_app_output: emitsAppOutput } = config.loggregator;
    this.#options = options;
    this.loggregator = createLoggregator({ origin: 'DEA', router, sharedSecret, clock, logger });
    this.appLog = new AppLog(this.loggregator, config.index);
    this.outputs = new JobOutputs({ loggregator: emitsAppOutput ? this.loggregator : undefined, logger });
  }

  static create(options: TelemetryOptions): Telemetry {
    return new Telemetry(options);
  }

  start(): void {
    this.loggregator.start();
  }

  /** From now on metrics are told, too. */
  measure(cell: { ledger: Ledger; instances: InstanceRegistry }): void {
    const { config, clock } = this.#options;
    this.#metrics = new CellMetrics({ ...cell, config, clock, loggregator: this.loggregator });
    this.#metrics.start();
  }

  engineCalled(seconds: number, isOk: boolean): void {
    emitEngineCall(this.loggregator, { seconds, isOk });
  }

  /** Idempotent. */
  async stop(): Promise<void> {
    this.#metrics?.stop();
    await this.loggregator.stop();
  }
}
