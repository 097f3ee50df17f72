import type { ContainerEngine } from '../containers/engine.js';
import { GardenServer } from '../containers/garden/server/garden-server.js';
import { createOciEngine } from '../containers/oci/oci-engine.js';
import { WardenServer } from '../containers/warden/server/warden-server.js';
import { errorData, type Logger } from '../logging/logger.js';
import type { Component } from '../process/program.js';
import { addressesOf, type GardenConfig, unusedKeys } from './config.js';
import { engineOptions } from './engine-options.js';

export interface GardenOptions {
  config: GardenConfig;
  logger: Logger;
}

/** The container server: an engine, with the Garden API and, where it is asked for, the Warden protocol before it. */
export class Garden implements Component {
  readonly #config: GardenConfig;
  readonly #logger: Logger;
  readonly #engine: ContainerEngine;
  readonly #server: GardenServer;
  readonly #warden: WardenServer | undefined;
  /** What is under way of `start`; it is not stopped in the middle. */
  #starting: Promise<void> | undefined;
  #stopping: Promise<void> | undefined;

  private constructor({ config, logger }: GardenOptions) {
    this.#config = config;
    this.#logger = logger;
    this.#engine = createOciEngine({ ...engineOptions(config), logger });
    this.#server = GardenServer.create({
      engine: this.#engine,
      addresses: addressesOf(config),
      readHeaderTimeoutMs: config.read_header_timeout || undefined,
      defaultRootfs: config.default_rootfs,
      defaultGraceTimeMs: config.default_grace_time,
      disablePrivilegedContainers: config.disable_privileged_containers,
      maxContainers: config.max_containers,
      logger,
    });
    this.#warden = createWarden(config, this.#engine, logger);
  }

  static create(options: GardenOptions): Garden {
    return new Garden(options);
  }

  /** Listens at once, so that it is seen to live, and answers when all containers of before are known again. */
  async start(): Promise<void> {
    const keys = unusedKeys(this.#config);
    if (keys.length > 0) this.#logger.warn('garden.config.unused-keys', { keys });
    await this.#server.listen();
    this.#starting = this.#startEngine();
    await this.#starting;
    if (this.#stopping) return;
    await this.#warden?.start();
    this.#server.open();
    this.#logger.info('garden.started', { addresses: addressesOf(this.#config) });
  }

  /** Containers and their processes live on. Idempotent. */
  async stop(): Promise<void> {
    this.#stopping ??= this.#stopAll();
    await this.#stopping;
  }

  async #startEngine(): Promise<void> {
    await this.#engine.start();
    if (!this.#config.destroy_containers_on_startup) return;
    const containers = await this.#engine.list();
    await Promise.all(
      containers.map(({ handle }) =>
        this.#engine.destroy(handle).catch((error: unknown) => {
          this.#logger.error('garden.destroy-failed', { handle, ...errorData(error) });
        }),
      ),
    );
  }

  async #stopAll(): Promise<void> {
    await Promise.allSettled([this.#starting]);
    await Promise.all([this.#server.stop(), this.#warden?.stop()]);
    await this.#engine.stop();
  }
}

function createWarden(config: GardenConfig, engine: ContainerEngine, logger: Logger): WardenServer | undefined {
  const { warden_socket: socketPath, default_rootfs: defaultRootfs } = config;
  if (socketPath === undefined || defaultRootfs === undefined) return undefined;
  return WardenServer.create({
    engine,
    socketPath,
    mode: Number.parseInt(config.warden_socket_mode, 8),
    graceTimeMs: config.warden_grace_time === 0 ? null : config.warden_grace_time,
    defaultRootfs,
    jobOutputLimit: config.warden_job_output_limit,
    rlimits: config.warden_rlimits,
    allowNetworks: config.warden_allow_networks,
    ...(config.warden_syslog_socket !== undefined && { syslogSocket: config.warden_syslog_socket }),
    logger,
  });
}
