import { type Identity, readIdentity } from '../http/internal-tls.js';
import type { HttpListener } from '../http/listener.js';
import { LocketServer } from '../locks/server/locket-server.js';
import { errorData, type Logger } from '../logging/logger.js';
import type { LocketConfig } from './config.js';
import { Figures } from './metrics/figures.js';
import { Reporter } from './metrics/reporter.js';
import { openStore } from './open-store.js';
import { locketStatusListener } from './status-listener.js';

export interface LocketOptions {
  config: LocketConfig;
  /** It cannot go on: the process is to end with a status that is not 0. */
  onFailure(error: Error): void;
  logger: Logger;
}

/** Keeps locks and presences for all components (docs/protocol/edge.md §6). */
export class Locket {
  readonly #identity: Identity;
  readonly #figures: Figures;
  /** What was started, last first. */
  readonly #running: (() => Promise<void>)[] = [];
  #server: LocketServer | undefined;
  #status: HttpListener | undefined;
  #stopping: Promise<void> | undefined;

  private constructor(private readonly options: LocketOptions) {
    const { config } = options;
    this.#identity = readLocketIdentity(config);
    this.#figures = new Figures(config.database_driver !== undefined);
  }

  /** @throws when a file of its identity cannot be read */
  static create(options: LocketOptions): Locket {
    return new Locket(options);
  }

  /** @throws when the store cannot be used, or an address is taken; what was started is for `stop` */
  async start(): Promise<void> {
    const { config, onFailure, logger } = this.options;
    const figures = this.#figures;
    const { store, close } = await openStore({ config, observer: figures.database, onFailure, logger });
    this.#running.unshift(close);
    const { debug_address: debug, listen_address: listen, report_interval: intervalMs } = config;
    const reporter = new Reporter({ store, figures, intervalMs, dropsondePort: config.dropsonde_port, logger });
    this.#running.unshift(() => reporter.stop());
    reporter.start();
    if (debug) {
      const status = locketStatusListener({ ...debug, store, figures });
      this.#running.unshift(() => status.stop());
      await status.start();
      this.#status = status;
    }
    const operationTimeoutMs = config.db_operation_timeout;
    const identity = this.#identity;
    const server = new LocketServer({
      ...listen,
      store,
      identity,
      allowedClients: config.allowed_clients,
      operationTimeoutMs,
      observer: figures.calls,
      logger,
    });
    this.#running.unshift(() => server.stop());
    await server.start();
    this.#server = server;
    logger.info('locket.started', { address: `${listen.host}:${server.port}` });
  }

  /** Lets calls end that are under way; what is held stays held. Idempotent. */
  stop(): Promise<void> {
    this.#stopping ??= this.#stop();
    return this.#stopping;
  }

  /** Of the gRPC service. @throws unless it was started */
  get port(): number {
    if (!this.#server) throw new Error('not listening');
    return this.#server.port;
  }

  /** Of the status server. @throws unless it was started with one */
  get statusPort(): number {
    if (!this.#status) throw new Error('no status server');
    return this.#status.port;
  }

  async #stop(): Promise<void> {
    const failures: unknown[] = [];
    for (const stop of this.#running.splice(0)) {
      await stop().catch((error: unknown) => failures.push(error));
    }
    for (const failure of failures) this.options.logger.error('locket.stop-failed', errorData(failure));
    if (failures.length > 0) throw failures[0];
    this.options.logger.info('locket.exited');
  }
}

/** @throws naming the file that cannot be read */
function readLocketIdentity({ ca_file, cert_file, key_file }: LocketConfig): Identity {
  return readIdentity({ caFile: ca_file, certFile: cert_file, keyFile: key_file });
}
