import { readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { ContainerEngine } from '../containers/engine.js';
import { errorData, type Logger } from '../logging/logger.js';
import type { DeaConfig } from './config.js';
import { deaOwner, ownerProperty } from './containers.js';
import type { Instance } from './instances/instance.js';
import type { InstanceManager } from './instances/instance-manager.js';
import type { InstanceRegistry } from './instances/instance-registry.js';
import type { StagingRegistry } from './staging/staging-registry.js';

const crashPeriodMs = 10_000;
const containerPeriodMs = 600_000;
const stuckStoppingMs = 60_000;

export interface ReaperOptions {
  config: DeaConfig;
  engine: ContainerEngine;
  instances: InstanceRegistry;
  manager: InstanceManager;
  stagingTasks: StagingRegistry;
  crashesDirectory: string;
  clock: () => number;
  logger: Logger;
}

/** Removes what outlived its use (docs/protocol/dea.md §12): old crashes, stuck stops, containers of nobody. */
export class Reapers {
  private timers: NodeJS.Timeout[] = [];
  private suspects = new Set<string>();

  constructor(private readonly options: ReaperOptions) {}

  start(): void {
    this.timers = [
      setInterval(() => this.run(() => this.reapInstances()), crashPeriodMs),
      setInterval(() => this.run(() => this.reapContainers()), containerPeriodMs),
    ];
  }

  stop(): void {
    for (const timer of this.timers) clearInterval(timer);
    this.timers = [];
  }

  /**
   * At start-up nothing is in progress, so a container of ours that no instance knows was left by a crash.
   * Containers of other owners are never touched.
   */
  async reclaimContainers(): Promise<void> {
    for (const handle of await this.unknownContainers()) await this.destroy(handle);
  }

  /** A container goes when two passes in a row find it unknown: one may just be being made. */
  async reapContainers(): Promise<void> {
    const unknown = await this.unknownContainers();
    for (const handle of unknown.filter((candidate) => this.suspects.has(candidate))) await this.destroy(handle);
    this.suspects = new Set(unknown);
  }

  async reapInstances(): Promise<void> {
    const { instances, manager, clock, logger } = this.options;
    const nowMs = clock();
    for (const instance of staleCrashes(instances.all(), nowMs, this.options.config.crash_lifetime_secs * 1000)) {
      logger.debug('crash.reaped', { instance: instance.id, reason: 'stale' });
      await manager.forget(instance);
    }
    for (const instance of instances.all()) {
      if (instance.state === 'STOPPING' && nowMs - instance.stateSinceMs > stuckStoppingMs) {
        await manager.stopInstance(instance);
      }
    }
    await this.removeOrphanedCrashes();
  }

  private async removeOrphanedCrashes(): Promise<void> {
    const { crashesDirectory, instances } = this.options;
    for (const name of await readdir(crashesDirectory)) {
      if (!instances.get(name)) await rm(join(crashesDirectory, name), { recursive: true, force: true });
    }
  }

  private async unknownContainers(): Promise<string[]> {
    const { engine, instances, stagingTasks } = this.options;
    const containers = await engine.list({ [ownerProperty]: deaOwner });
    const known = new Set([
      ...instances.all().map((instance) => instance.handle),
      ...stagingTasks.all().map((task) => task.handle),
    ]);
    return containers.map(({ handle }) => handle).filter((handle) => !known.has(handle));
  }

  private async destroy(handle: string): Promise<void> {
    const { engine, logger } = this.options;
    logger.warn('container.orphan.destroyed', { handle });
    await engine.destroy(handle).catch((error: unknown) => logger.error('container.reap.failed', errorData(error)));
  }

  private run(work: () => Promise<void>): void {
    work().catch((error: unknown) => this.options.logger.error('reaper.failed', errorData(error)));
  }
}

/** Per app the newest crash is kept until its lifetime is over; all others go. */
export function staleCrashes(instances: Instance[], nowMs: number, lifetimeMs: number): Instance[] {
  const crashes = instances.filter(({ state }) => state === 'CRASHED').sort((a, b) => b.stateSinceMs - a.stateSinceMs);
  const keptApplications = new Set<string>();
  return crashes.filter(({ attributes, stateSinceMs }) => {
    const isNewest = !keptApplications.has(attributes.applicationId);
    keptApplications.add(attributes.applicationId);
    return !isNewest || nowMs - stateSinceMs > lifetimeMs;
  });
}
