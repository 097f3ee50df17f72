import { setTimeout as delay } from 'node:timers/promises';
import type { Bus } from '../bus/bus.js';
import type { DropletCache } from '../cell/droplet-cache.js';
import type { ContainerEngine } from '../containers/engine.js';
import { errorData, type Logger } from '../logging/logger.js';
import type { FileServer } from './files/file-server.js';
import type { Hm9000Client } from './health-manager/hm9000-client.js';
import type { HttpFronts } from './http-fronts.js';
import type { Instance } from './instances/instance.js';
import type { InstanceManager } from './instances/instance-manager.js';
import type { InstanceRegistry } from './instances/instance-registry.js';
import type { RouterClient } from './router-client.js';
import type { Snapshot } from './snapshot.js';
import type { StagingManager } from './staging/staging-manager.js';
import type { Telemetry } from './telemetry.js';

/** Apps get 10 s to end by themselves, and as long again for hooks and clean-up; then they are ended by force. */
const patienceMs = 25_000;
/** All of apps and staging tasks; what is not gone then is left to the next start (docs/protocol/dea.md §16.2). */
const containersLimitMs = 30_000;
/** Any other step. The bus has 5 s for its flush, and a little for the connection. */
const stepLimitMs = 6_000;
/** Completions of stagings that were stopped have 10 s to arrive. */
const completionsLimitMs = 11_000;

export interface ShutdownOptions {
  instances: InstanceRegistry;
  manager: InstanceManager;
  staging: StagingManager;
  droplets: DropletCache;
  files: FileServer;
  fronts: HttpFronts;
  hm9000: Hm9000Client | undefined;
  telemetry: Telemetry;
  bus: Bus;
  router: RouterClient;
  snapshot: Snapshot;
  engine: ContainerEngine;
  /** Milliseconds that each stop waits before its first step, which the limits are longer by. */
  drainDelayMs: number;
  logger: Logger;
}

/**
 * Stops every app and staging task and gives everything back (docs/protocol/dea.md §16.2, from step 6 on). Each step
 * has a limit of its own: one that hangs or fails is logged, and the others are taken all the same. Never rejects.
 */
export async function shutDown(options: ShutdownOptions): Promise<void> {
  const { router, fronts, hm9000, droplets, files, bus, snapshot, engine, telemetry, drainDelayMs, logger } = options;
  await step('containers', containersLimitMs + drainDelayMs, () => stopEverything(options), logger);
  router.stop();
  await step('fronts', stepLimitMs, () => fronts.stop(), logger);
  await step('completions', completionsLimitMs, () => fronts.finish(), logger);
  await step('hm9000', stepLimitMs, async () => hm9000?.stop(), logger);
  await step('droplets', stepLimitMs, () => droplets.clear(), logger);
  await step('files', stepLimitMs, () => files.stop(), logger);
  await step('bus', stepLimitMs, () => bus.stop(), logger);
  await step('snapshot', stepLimitMs, () => snapshot.save(), logger);
  await step('engine', stepLimitMs, () => engine.release(), logger);
  await step('telemetry', stepLimitMs, () => telemetry.stop(), logger);
}

/** Takes one step of an orderly end: resolves when it is done, has failed, or its time is up. */
export async function step(name: string, limitMs: number, work: () => Promise<unknown>, logger: Logger): Promise<void> {
  const limit = new AbortController();
  const isLate = delay(limitMs, true, { signal: limit.signal }).catch(() => false);
  const attempt = work().then(
    () => false,
    (error: unknown) => {
      logger.error(`shutdown.${name}.failed`, errorData(error));
      return false;
    },
  );
  if (await Promise.race([attempt, isLate])) logger.error(`shutdown.${name}.timed-out`, { limit_ms: limitMs });
  limit.abort();
}

async function stopEverything(options: ShutdownOptions): Promise<void> {
  const { instances, manager, staging } = options;
  const living = instances.all().filter(({ state }) => state !== 'CRASHED');
  await Promise.all([staging.shutdown(), ...living.map((instance) => stopInstance(instance, options))]);
  await manager.settle();
}

async function stopInstance(instance: Instance, { manager, drainDelayMs, logger }: ShutdownOptions): Promise<void> {
  const timer = setTimeout(() => {
    logger.warn('shutdown.instance.killed', { instance: instance.id });
    instance.kill().catch((error: unknown) => logger.error(`Failed killing instance ${instance.id}`, errorData(error)));
  }, patienceMs + drainDelayMs);
  try {
    await manager.stopInstance(instance).catch(async (error: unknown) => {
      // A hook of the operator's that fails must not leave the app behind without an agent.
      logger.warn(`Failed stopping instance ${instance.id}`, errorData(error));
      await instance.kill();
      await manager.stopInstance(instance);
    });
  } catch (error) {
    logger.error(`Failed stopping instance ${instance.id}`, errorData(error));
  } finally {
    clearTimeout(timer);
  }
}
