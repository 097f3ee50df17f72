import type { ContainerEngine } from '../containers/engine.js';
import { GardenServer } from '../containers/garden/server/garden-server.js';
import { createOciEngine } from '../containers/oci/oci-engine.js';
import { HealthResponder } from '../containers/warden/server/health-responder.js';
import { WardenServer } from '../containers/warden/server/warden-server.js';
import { errorData, type Logger } from '../logging/logger.js';
import type { Component } from '../process/program.js';
import { DebugServer } from './debug-server.js';
import { PidNote } from './pid-note.js';
import type { ServerSettings } from './settings.js';

export interface GardenOptions {
  settings: ServerSettings;
  logger: Logger;
}

/**
 * The container server: an engine, with the Garden API or the Warden protocol or both before it.
 *
 *   (new) -- start --> running -- stop: connections of Warden clients are cut ------------------------> (gone)
 *                         +------ drain: their requests at hand are finished --(stop cuts them)-------> (gone)
 */
export class Garden implements Component {
  readonly #settings: ServerSettings;
  readonly #logger: Logger;
  readonly #engine: ContainerEngine;
  readonly #server: GardenServer | undefined;
  readonly #warden: WardenServer | undefined;
  readonly #health: HealthResponder | undefined;
  readonly #debug: DebugServer | undefined;
  readonly #pidNote: PidNote | undefined;
  /** What is under way of `start`; it is not stopped in the middle. */
  #starting: Promise<void> | undefined;
  #ending: Promise<void> | undefined;

  private constructor({ settings, logger }: GardenOptions) {
    const { garden, warden, healthPort, debug, pidFile } = settings;
    this.#settings = settings;
    this.#logger = logger;
    this.#engine = createOciEngine({ ...settings.engine, logger });
    this.#server = garden && GardenServer.create({ ...garden, engine: this.#engine, logger });
    this.#warden = warden && WardenServer.create({ ...warden, engine: this.#engine, logger });
    this.#health = healthPort === undefined ? undefined : new HealthResponder(healthPort);
    this.#pidNote = pidFile === undefined ? undefined : new PidNote(pidFile);
    this.#debug = debug && DebugServer.create({ ...debug, figures: () => this.#figures(), logger });
  }

  static create(options: GardenOptions): Garden {
    return new Garden(options);
  }

  /** Listens at once, so that it is seen to live, and answers when all containers of before are known again. */
  async start(): Promise<void> {
    const { garden, warden, unusedKeys: keys } = this.#settings;
    if (keys.length > 0) this.#logger.warn('garden.config.unused-keys', { keys });
    await this.#server?.listen();
    this.#starting = this.#startEngine();
    await this.#starting;
    if (this.#ending) return;
    // Not before: a second one in the same depot must not take it away from the first.
    await this.#pidNote?.write();
    await this.#warden?.start();
    await this.#debug?.start();
    this.#server?.open();
    // Whoever is told of health counts on answers.
    await this.#health?.start();
    this.#logger.info('garden.started', { addresses: garden?.addresses ?? [], warden: warden?.socketPath });
  }

  /** Containers and their processes live on. Cuts short a drain that is under way. Idempotent. */
  async stop(): Promise<void> {
    if (this.#ending) await this.#warden?.stop();
    this.#ending ??= this.#end(() => this.#warden?.stop());
    await this.#ending;
  }

  /**
   * As `stop`, but clients of the Warden protocol get the answer to what they have asked for: those that are idle or only
   * wait are let go at once (docs/protocol/containers.md §1.7). Idempotent.
   */
  async drain(): Promise<void> {
    this.#logger.info('garden.draining');
    this.#ending ??= this.#end(async () => {
      await this.#warden?.drain();
      await this.#warden?.stop();
    });
    await this.#ending;
  }

  async #startEngine(): Promise<void> {
    await this.#engine.start();
    if (!this.#settings.destroyContainersOnStartup) return;
    const containers = await this.#engine.list();
    await Promise.all(
      containers.map(({ handle }) =>
        this.#engine.destroy(handle).catch((error: unknown) => {
          this.#logger.error('garden.destroy-failed', { handle, ...errorData(error) });
        }),
      ),
    );
  }

  async #end(endWarden: () => Promise<void> | undefined): Promise<void> {
    await Promise.allSettled([this.#starting]);
    await this.#health?.stop();
    await Promise.all([this.#server?.stop(), endWarden(), this.#debug?.stop()]);
    await this.#engine.stop();
    await this.#pidNote?.remove();
  }

  async #figures(): Promise<Record<string, number>> {
    const containers = await this.#engine.list();
    return {
      containers: containers.length,
      garden_connections: this.#server?.connectionCount ?? 0,
      garden_requests: this.#server?.requestCount ?? 0,
      warden_connections: this.#warden?.connectionCount ?? 0,
    };
  }
}
