import type { Bus } from '../../bus/bus.js';
import { InsufficientResourcesError } from '../../cell/ledger.js';
import { errorData, type Logger } from '../../logging/logger.js';
import type { Heartbeat } from '../heartbeat.js';
import { type DropletExited, type InstanceState, subjects } from '../messages.js';
import type { RouterClient } from '../router-client.js';
import type { SavedInstance, Snapshot } from '../snapshot.js';
import { type InstanceAttributes, newInstanceId, parseInstanceAttributes } from './attributes.js';
import { Instance, type InstanceContext } from './instance.js';
import type { InstanceRegistry } from './instance-registry.js';

export interface InstanceManagerOptions {
  context: Omit<InstanceContext, 'onTransition' | 'onChange'>;
  registry: InstanceRegistry;
  bus: Bus;
  router: RouterClient;
  heartbeat: Heartbeat;
  snapshot: Snapshot;
  logger: Logger;
}

/** Takes start messages in and carries out what follows from each change of state (docs/protocol/dea.md §8.3, §8.4). */
export class InstanceManager {
  /** Work that goes on after a transition; a shutdown waits for it. */
  private readonly background = new Set<Promise<void>>();
  private readonly context: InstanceContext;

  constructor(private readonly options: InstanceManagerOptions) {
    this.context = {
      ...options.context,
      onChange: () => options.snapshot.saveSoon(),
      onTransition: (instance, from, to) => this.handleTransition(instance, from, to),
    };
  }

  /**
   * Registers and starts an instance; without room it becomes CRASHED at once, so that others learn of it.
   * Resolves when the instance is running or has crashed.
   * @throws InvalidMessageError when the message is invalid: then nothing is registered
   */
  async startInstance(message: unknown): Promise<void> {
    const instance = new Instance(parseInstanceAttributes(message), this.context);
    const { registry, logger, heartbeat } = this.options;
    registry.register(instance);
    try {
      await this.reserve(instance.attributes);
    } catch (error) {
      logger.error('instance.start.insufficient-resource', {
        app: instance.attributes.applicationId,
        instance: instance.id,
        ...errorData(error),
      });
      if (instance.state !== 'BORN') return;
      instance.refuse(
        error instanceof InsufficientResourcesError
          ? `Not enough ${error.resource} resource available.`
          : 'failed to start',
      );
      return;
    }
    // A stop may have come while the reservation was on its way to the disk.
    if (instance.state !== 'BORN') {
      await instance.dispose();
      return;
    }
    const started = instance.start();
    heartbeat.sendSoon();
    await started;
  }

  /** Brings the instances of an earlier agent back; invalid records are skipped with a warning. */
  async resume(saved: SavedInstance[]): Promise<void> {
    await Promise.all(
      saved.map(async (record) => {
        try {
          await this.resumeInstance(record);
        } catch (error) {
          this.options.logger.warn('instance.resume.failed', errorData(error));
        }
      }),
    );
  }

  /** Stops an instance and waits until its container is gone. */
  async stopInstance(instance: Instance): Promise<void> {
    await instance.stop();
    await instance.dispose();
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
      if (added.length > 0) router.registerInstance(instance, added);
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

  /** Removes a crashed instance for good; its reservation's rest is released. */
  async forget(instance: Instance): Promise<void> {
    this.options.registry.unregister(instance);
    await instance.dispose();
    this.options.snapshot.saveSoon();
  }

  /** Resolves when the clean-up that is under way is done. */
  async settle(): Promise<void> {
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
    const { router, heartbeat, registry, snapshot } = this.options;
    switch (to) {
      case 'STARTING':
        snapshot.saveSoon();
        break;
      case 'RUNNING':
        heartbeat.sendSoon();
        router.registerInstance(instance);
        snapshot.saveSoon();
        break;
      case 'STOPPING':
        router.unregisterInstance(instance);
        snapshot.saveSoon();
        break;
      case 'STOPPED':
        registry.unregister(instance);
        this.runInBackground(async () => {
          await instance.dispose();
          snapshot.saveSoon();
        });
        break;
      case 'CRASHED':
        this.handleCrash(instance, from);
        break;
      case 'BORN':
      case 'RESUMING':
      case 'EVACUATING':
        break;
      default:
        to satisfies never;
    }
  }

  private handleCrash(instance: Instance, from: InstanceState): void {
    const { router, heartbeat, bus, snapshot } = this.options;
    this.runInBackground(async () => {
      await instance.cleanUpAfterCrash();
      snapshot.saveSoon();
    });
    snapshot.saveSoon();
    // A crash that an earlier agent has told already is not told again.
    if (from === 'RESUMING' && instance.wasCrashed) return;
    router.unregisterInstance(instance);
    bus.publish(subjects.dropletExited, dropletExited(instance));
    heartbeat.sendSoon();
  }

  private runInBackground(work: () => Promise<void>): void {
    const promise = work()
      .catch((error: unknown) => this.options.logger.error('droplet.crash-handler.error', errorData(error)))
      .finally(() => this.background.delete(promise));
    this.background.add(promise);
  }
}

function dropletExited({ attributes, exitStatus, exitDescription, stateSinceMs }: Instance): DropletExited {
  return {
    cc_partition: attributes.ccPartition,
    droplet: attributes.applicationId,
    version: attributes.applicationVersion,
    instance: attributes.instanceId,
    index: attributes.instanceIndex,
    reason: 'CRASHED',
    exit_status: exitStatus,
    exit_description: exitDescription,
    crash_timestamp: Math.floor(stateSinceMs / 1000),
  };
}
