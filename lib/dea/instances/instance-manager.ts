import { setTimeout as delay } from 'node:timers/promises';
import type { Bus } from '../../bus/bus.js';
import { InsufficientResourcesError } from '../../cell/ledger.js';
import { errorData, type Logger } from '../../logging/logger.js';
import type { Activity } from '../activity.js';
import type { LegacyProtocol } from '../config.js';
import type { Heartbeat } from '../heartbeat.js';
import type { Intake } from '../intake.js';
import { type DropletExited, type InstanceState, InvalidMessageError, subjects } from '../messages.js';
import type { RouterClient } from '../router-client.js';
import type { SavedInstance, Snapshot } from '../snapshot.js';
import { type InstanceAttributes, newInstanceId, parseInstanceAttributes } from './attributes.js';
import { Instance, type InstanceContext } from './instance.js';
import type { InstanceRegistry } from './instance-registry.js';

export interface InstanceManagerOptions {
  context: Omit<InstanceContext, 'onTransition' | 'onChange' | 'onServing'>;
  registry: InstanceRegistry;
  bus: Bus;
  router: RouterClient;
  heartbeat: Heartbeat;
  snapshot: Snapshot;
  intake: Intake;
  activity?: Activity;
  logger: Logger;
}

/** Pauses between attempts to give back what an instance had. */
const firstPauseMs = 1_000;
const longestPauseMs = 60_000;

/** Takes start messages in and carries out what follows from each change of state (docs/protocol/dea.md §8.3, §8.4). */
export class InstanceManager {
  /** Work that goes on after a transition; a shutdown waits for it. */
  private readonly background = new Set<Promise<void>>();
  /** Nobody waits for a better moment any more. */
  private readonly hurry = new AbortController();
  private readonly context: InstanceContext;
  /** Half of what is there must not be reported: the health manager would take the rest for missing. */
  private isResuming = false;

  constructor(private readonly options: InstanceManagerOptions) {
    this.context = {
      ...options.context,
      onChange: () => options.snapshot.saveSoon(),
      onTransition: (instance, from, to) => this.handleTransition(instance, from, to),
      onServing: (instance) => {
        options.router.registerInstance(instance);
        options.snapshot.saveSoon();
      },
    };
  }

  /**
   * Registers and starts an instance; without room it becomes CRASHED at once, so that others learn of it. While the
   * agent leaves, nothing happens (docs/protocol/dea.md §5.3).
   * Resolves when the instance is running or has crashed.
   * @throws InvalidMessageError when the message is invalid: then nothing is registered
   */
  async startInstance(message: unknown): Promise<void> {
    const { registry, logger, heartbeat, intake } = this.options;
    if (!intake.isOpen) {
      logger.info('instance.start.refused', { reason: intake.closedBecause });
      return;
    }
    const instance = new Instance(parseInstanceAttributes(message), this.context);
    if (registry.get(instance.id)) throw new InvalidMessageError('start', [`instance_id: ${instance.id} is taken`]);
    registry.register(instance);
    this.context.appLog.instanceStarting(instance.attributes);
    try {
      await this.reserve(instance.attributes);
    } catch (error) {
      logger.error('instance.start.insufficient-resource', {
        app: instance.attributes.applicationId,
        instance: instance.id,
        ...errorData(error),
      });
      if (!isStillWanted(instance)) return;
      instance.refuse(
        error instanceof InsufficientResourcesError
          ? `Not enough ${error.resource} resource available.`
          : 'failed to start',
      );
      return;
    }
    // A stop may have come while the reservation was on its way to the disk.
    if (!isStillWanted(instance)) {
      await instance.dispose();
      return;
    }
    const started = instance.start();
    heartbeat.sendSoon();
    await started;
  }

  /**
   * Brings the instances of an earlier agent back; invalid records are skipped with a warning. No heartbeat is sent
   * and no snapshot written meanwhile: the caller does both when all are there.
   */
  async resume(saved: SavedInstance[]): Promise<void> {
    this.isResuming = true;
    await Promise.all(
      saved.map(async (record) => {
        try {
          await this.resumeInstance(record);
        } catch (error) {
          this.options.logger.warn('instance.resume.failed', errorData(error));
        }
      }),
    );
    this.isResuming = false;
  }

  /**
   * Turns an instance that lives into one that is to be taken over elsewhere (docs/protocol/dea.md §16.1).
   * @returns whether it was not so already
   */
  evacuateInstance(instance: Instance): boolean {
    return instance.evacuate();
  }

  /** Stops an instance and waits until its container is gone. */
  async stopInstance(instance: Instance): Promise<void> {
    await instance.stop();
    await instance.dispose();
  }

  /** Stops an instance whose stop has failed, or has come to no end. */
  async retryStop(instance: Instance): Promise<void> {
    if (instance.isStopping) await instance.kill();
    await this.stopInstance(instance);
  }

  /** New URIs or version of an app's running instances (docs/protocol/dea.md §13.3). */
  updateApplication(update: { droplet: string; uris: string[]; version?: string | null | undefined }): void {
    const { registry, router, heartbeat, snapshot } = this.options;
    let hasChanged = false;
    for (const instance of registry.ofApplication(update.droplet)) {
      if (instance.state !== 'RUNNING' && instance.state !== 'EVACUATING') continue;
      const { attributes } = instance;
      const added = update.uris.filter((uri) => !attributes.applicationUris.includes(uri));
      const removed = attributes.applicationUris.filter((uri) => !update.uris.includes(uri));
      // One that is evacuated while it starts gets all its routes when it answers.
      if (added.length > 0 && instance.isServing) router.registerInstance(instance, added);
      if (removed.length > 0) router.unregisterInstance(instance, removed);
      hasChanged ||= added.length > 0 || removed.length > 0;
      attributes.applicationUris = update.uris;
      if (update.version != null && update.version !== attributes.applicationVersion) {
        attributes.applicationVersion = update.version;
        registry.rename(instance, newInstanceId());
        hasChanged = true;
      }
    }
    if (!hasChanged) return;
    heartbeat.sendSoon();
    snapshot.saveSoon();
  }

  /** Removes a crashed instance for good. Resolves when its reservation's rest is released, or was tried to be. */
  async forget(instance: Instance): Promise<void> {
    this.options.registry.unregister(instance);
    this.context.appLog.instanceGone(instance.attributes);
    await this.giveBack(instance, () => instance.dispose());
  }

  /** Resolves when the clean-up that is under way is done, or was tried a last time. */
  async settle(): Promise<void> {
    this.hurry.abort();
    while (this.background.size > 0) await Promise.all(this.background);
  }

  private async reserve(attributes: InstanceAttributes): Promise<void> {
    await this.options.context.ledger.reserve({
      id: attributes.privateInstanceId,
      owner: 'dea',
      memoryMb: attributes.limits.mem,
      diskMb: attributes.limits.disk,
    });
  }

  private async resumeInstance(saved: SavedInstance): Promise<void> {
    const instance = new Instance(parseInstanceAttributes(saved.attributes), this.context);
    if (this.options.registry.get(instance.id)) throw new Error(`instance ${instance.id} is in the snapshot twice`);
    instance.exitStatus = saved.exitStatus;
    instance.exitDescription = saved.exitDescription;
    this.options.registry.register(instance);
    // A crash between the ledger's write and the snapshot's leaves a container without reservation: it counts again.
    if (!this.options.context.ledger.get(instance.reservationId) && saved.state !== 'CRASHED') {
      await this.reserve(instance.attributes).catch((error: unknown) =>
        this.options.logger.warn('instance.resume.over-capacity', errorData(error)),
      );
    }
    await instance.resume(saved);
  }

  private handleTransition(instance: Instance, from: InstanceState, to: InstanceState): void {
    const { router, registry, snapshot, activity } = this.options;
    activity?.instanceEntered(to);
    switch (to) {
      case 'STARTING':
        snapshot.saveSoon();
        break;
      case 'RUNNING':
        this.reportSoon();
        router.registerInstance(instance);
        snapshot.saveSoon();
        break;
      case 'EVACUATING':
        if (from !== 'RESUMING') this.publishOldExit(instance, 'DEA_EVACUATION');
        snapshot.saveSoon();
        break;
      case 'STOPPING':
        router.withdrawInstance(instance);
        if (this.options.intake.closedBecause === 'shutting down') this.publishOldExit(instance, 'DEA_SHUTDOWN');
        snapshot.saveSoon();
        break;
      case 'STOPPED':
        if (this.options.intake.closedBecause !== 'shutting down') this.publishOldExit(instance, 'STOPPED');
        registry.unregister(instance);
        this.context.appLog.instanceGone(instance.attributes);
        void this.giveBack(instance, () => instance.dispose());
        break;
      case 'CRASHED':
        this.handleCrash(instance, from);
        break;
      case 'BORN':
      case 'RESUMING':
        break;
      default:
        to satisfies never;
    }
  }

  private handleCrash(instance: Instance, from: InstanceState): void {
    const { router, bus, snapshot } = this.options;
    void this.giveBack(instance, () => instance.cleanUpAfterCrash());
    if (!this.isResuming) snapshot.saveSoon();
    // A crash that an earlier agent has told already is not told again.
    if (from === 'RESUMING' && instance.wasCrashed) return;
    // No refresh of ours can bring back the route of an instance that was not there any more.
    if (from === 'RESUMING') router.unregisterInstance(instance);
    else router.withdrawInstance(instance);
    bus.publish(subjects.dropletExited, dropletExited(instance, 'CRASHED'));
    this.reportSoon();
  }

  private reportSoon(): void {
    if (!this.isResuming) this.options.heartbeat.sendSoon();
  }

  /** What agents of before 2016 told of ends that are no crashes, where the configuration wants it (§5.7, §22). */
  private publishOldExit(instance: Instance, reason: OldExitReason): void {
    const { bus, context } = this.options;
    if (!context.config.legacy_protocols.includes(oldExitProtocols[reason])) return;
    bus.publish(subjects.dropletExited, dropletExited(instance, reason));
  }

  /**
   * In the background, and until it succeeds: a container's server may be away for a while. Resolves when it was tried
   * once.
   */
  private giveBack(instance: Instance, work: () => Promise<void>): Promise<void> {
    return new Promise((resolve) => {
      const promise = this.untilDone(instance, work, resolve).finally(() => this.background.delete(promise));
      this.background.add(promise);
    });
  }

  private async untilDone(instance: Instance, work: () => Promise<void>, onTried: () => void): Promise<void> {
    const { logger, snapshot } = this.options;
    const { signal } = this.hurry;
    for (let pauseMs = firstPauseMs; ; pauseMs = Math.min(pauseMs * 2, longestPauseMs)) {
      const isLast = signal.aborted;
      try {
        await work();
        if (!this.isResuming) snapshot.saveSoon();
        return;
      } catch (error) {
        logger.error('droplet.crash-handler.error', { instance: instance.id, ...errorData(error) });
      } finally {
        onTried();
      }
      if (isLast) return;
      await delay(pauseMs, undefined, { signal }).catch(() => {});
    }
  }
}

type OldExitReason = Exclude<DropletExited['reason'], 'CRASHED'>;

const oldExitProtocols: Record<OldExitReason, LegacyProtocol> = {
  DEA_EVACUATION: 'droplet.exited.evacuation',
  DEA_SHUTDOWN: 'droplet.exited.shutdown',
  STOPPED: 'droplet.exited.stopped',
};

/** No stop came while the reservation was on its way. */
function isStillWanted({ state }: Instance): boolean {
  return state === 'BORN' || state === 'EVACUATING';
}

function dropletExited(instance: Instance, reason: DropletExited['reason']): DropletExited {
  const { attributes, exitStatus, exitDescription, stateSinceMs } = instance;
  return {
    cc_partition: attributes.ccPartition,
    droplet: attributes.applicationId,
    version: attributes.applicationVersion,
    instance: attributes.instanceId,
    index: attributes.instanceIndex,
    reason,
    exit_status: exitStatus,
    exit_description: exitDescription,
    ...(reason === 'CRASHED' && { crash_timestamp: Math.floor(stateSinceMs / 1000) }),
  };
}
