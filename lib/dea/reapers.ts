import { readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { Ledger } from '../cell/ledger.js';
import type { ContainerEngine } from '../containers/engine.js';
import { errorData, type Logger } from '../logging/logger.js';
import type { DeaConfig } from './config.js';
import { deaOwner, ownerProperty } from './containers.js';
import { fileSystemUsage, isUnderPressure } from './disk-pressure.js';
import type { Instance } from './instances/instance.js';
import type { InstanceManager } from './instances/instance-manager.js';
import type { InstanceRegistry } from './instances/instance-registry.js';
import type { AppLog } from './logs/app-log.js';
import type { StagingRegistry } from './staging/staging-registry.js';

const crashPeriodMs = 10_000;
const containerPeriodMs = 600_000;

export interface ReaperOptions {
  config: DeaConfig;
  engine: ContainerEngine;
  ledger: Ledger;
  instances: InstanceRegistry;
  manager: InstanceManager;
  stagingTasks: StagingRegistry;
  crashesDirectory: string;
  appLog: AppLog;
  logger: Logger;
}

/** Removes what outlived its use (docs/protocol/dea.md §12): old crashes, stuck stops, containers of nobody. */
export class Reapers {
  private timers: NodeJS.Timeout[] = [];
  /** One pass at a time, however long a disk takes for it. */
  private isReapingInstances = false;
  private suspects = new Set<string>();

  constructor(private readonly options: ReaperOptions) {}

  start(): void {
    // An agent that is killed again and again would else never come to its first pass.
    this.run(() => this.reapInstances());
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
    for (const handle of unknown.filter((candidate) => this.suspects.has(candidate))) {
      // Destroying the one before took its time: somebody may know it by now.
      if (!this.knownHandles().has(handle)) await this.destroy(handle);
    }
    this.suspects = new Set(unknown);
  }

  async reapInstances(): Promise<void> {
    if (this.isReapingInstances) return;
    this.isReapingInstances = true;
    try {
      this.retryStops();
      this.stopSuperseded();
      await this.removeOrphanedCrashes();
      const lifetimeMs = this.options.config.crash_lifetime_secs * 1000;
      for (const crash of staleCrashes(this.options.instances.all(), lifetimeMs))
        await this.removeCrash(crash, 'stale');
      await this.relieveDisk();
    } finally {
      this.isReapingInstances = false;
    }
  }

  /** A stop that failed is tried again; one that hangs is helped on by force. */
  private retryStops(): void {
    const { instances, manager, logger } = this.options;
    for (const instance of instances.all()) {
      if (instance.state !== 'STOPPING' || instance.stateAgeMs <= this.options.config.instance.stuck_stop_secs * 1000)
        continue;
      logger.warn('instance.stop.stuck', { instance: instance.id });
      manager
        .retryStop(instance)
        .catch((error: unknown) => logger.warn(`Failed stopping instance ${instance.id}`, errorData(error)));
    }
  }

  /** NATS tells nobody that a stop was lost; the Cloud Controller never repeats it (docs/protocol/legacy-cc.md §14). */
  private stopSuperseded(): void {
    const { instances, manager, config, logger } = this.options;
    for (const instance of supersededInstances(instances.all(), config.instance.superseded_after_secs * 1000)) {
      logger.warn('instance.superseded', { instance: instance.id });
      manager
        .stopInstance(instance)
        .catch((error: unknown) => logger.warn(`Failed stopping instance ${instance.id}`, errorData(error)));
    }
  }

  /** Oldest crashes first, until neither what is used nor what is reserved of the disk is too much. */
  private async relieveDisk(): Promise<void> {
    // Their reservations are on the way out, which may take a while.
    const removed = new Set<string>();
    for (const crash of crashesByAge(this.options.instances.all())) {
      if (!this.isReservedTooMuch(removed) && !(await this.isUsedTooMuch())) return;
      removed.add(crash.reservationId);
      await this.removeCrash(crash, 'disk pressure');
    }
  }

  /** Crashes keep what they reserved: many of them would leave no room for instances that run. */
  private isReservedTooMuch(removed: ReadonlySet<string>): boolean {
    const { config, ledger } = this.options;
    const kept = ledger.list().filter(({ id }) => !removed.has(id));
    const reservedMb = kept.reduce((sum, { diskMb }) => sum + diskMb, 0);
    return reservedMb > config.crash_block_usage_ratio_threshold * ledger.capacity.diskMb;
  }

  private async isUsedTooMuch(): Promise<boolean> {
    const { crashesDirectory, config } = this.options;
    return isUnderPressure(await fileSystemUsage(crashesDirectory), {
      blocks: config.crash_block_usage_ratio_threshold,
      inodes: config.crash_inode_usage_ratio_threshold,
    });
  }

  private async removeCrash(instance: Instance, reason: 'stale' | 'disk pressure'): Promise<void> {
    const { manager, appLog, logger } = this.options;
    logger.debug('crash.reaped', { instance: instance.id, reason });
    appLog.removingCrash(instance.attributes.applicationId);
    await manager.forget(instance);
    await rm(instance.crashDirectory, { recursive: true, force: true });
  }

  private async removeOrphanedCrashes(): Promise<void> {
    const { crashesDirectory, instances, logger } = this.options;
    for (const name of await readdir(crashesDirectory)) {
      // Where the directory is a file system of its own.
      if (instances.get(name) || name === 'lost+found') continue;
      logger.debug('crash.reaped', { instance: name, reason: 'orphaned' });
      await rm(join(crashesDirectory, name), { recursive: true, force: true });
    }
  }

  private async unknownContainers(): Promise<string[]> {
    const containers = await this.options.engine.list({ [ownerProperty]: deaOwner });
    const known = this.knownHandles();
    return containers.map(({ handle }) => handle).filter((handle) => !known.has(handle));
  }

  private knownHandles(): Set<string> {
    const { instances, stagingTasks } = this.options;
    return new Set([
      ...instances.all().map((instance) => instance.handle),
      ...stagingTasks.all().map((task) => task.handle),
    ]);
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

/** Oldest first. */
function crashesByAge(instances: Instance[]): Instance[] {
  return instances.filter(({ state }) => state === 'CRASHED').sort((a, b) => b.stateAgeMs - a.stateAgeMs);
}

/** Running instances beside which a newer one of the same app and index has been running for so long; none for 0. */
export function supersededInstances(instances: Instance[], afterMs: number): Instance[] {
  if (afterMs === 0) return [];
  // Ages grow from one look to the next: each is taken once.
  const running = instances
    .filter(({ state }) => state === 'RUNNING')
    .map((instance) => ({ instance, uptimeMs: instance.uptimeMs, attributes: instance.attributes }));
  return running
    .filter((older) =>
      running.some(
        (newer) =>
          newer.attributes.applicationId === older.attributes.applicationId &&
          newer.attributes.instanceIndex === older.attributes.instanceIndex &&
          newer.instance.stateAgeMs >= afterMs &&
          newer.uptimeMs < older.uptimeMs,
      ),
    )
    .map(({ instance }) => instance);
}

/** Per app the newest crash is kept until its lifetime is over; all others go. */
export function staleCrashes(instances: Instance[], lifetimeMs: number): Instance[] {
  const keptApplications = new Set<string>();
  return crashesByAge(instances)
    .reverse()
    .filter(({ attributes, stateAgeMs }) => {
      const isNewest = !keptApplications.has(attributes.applicationId);
      keptApplications.add(attributes.applicationId);
      return !isNewest || stateAgeMs > lifetimeMs;
    });
}
