import type { BusMessage } from '../../bus/bus.js';
import { InsufficientResourcesError, type Ledger } from '../../cell/ledger.js';
import { errorData, type Logger } from '../../logging/logger.js';
import type { InstanceManager } from '../instances/instance-manager.js';
import { InvalidMessageError, parseMessage, type StagingMessage, stagingMessageSchema } from '../messages.js';
import type { Snapshot } from '../snapshot.js';
import type { StagingRegistry } from './staging-registry.js';
import { type StagingContext, type StagingReplies, StagingTask } from './staging-task.js';

export interface StagingManagerOptions {
  context: StagingContext;
  registry: StagingRegistry;
  instances: InstanceManager;
  ledger: Ledger;
  snapshot: Snapshot;
  logger: Logger;
}

/** Takes staging messages in, runs their tasks and starts the first instance after them (docs/protocol/dea.md §17). */
export class StagingManager {
  private isAccepting = true;

  constructor(private readonly options: StagingManagerOptions) {}

  /**
   * Stages what a NATS message asks for and answers it: twice, or once when there is no room or the message is bad.
   * Resolves when the task is over and its resources are released.
   */
  async stage(request: BusMessage): Promise<void> {
    let message: StagingMessage;
    try {
      message = parseMessage('staging', stagingMessageSchema, request.data);
    } catch (error) {
      this.options.logger.error('staging.handle.failed', errorData(error));
      request.reply({ task_id: taskIdOf(request.data), error: `Error staging: ${(error as Error).message}` });
      return;
    }
    if (!this.isAccepting) {
      request.reply({ task_id: message.task_id, error: 'Error staging: the agent is shutting down' });
      return;
    }
    await this.run(message, natsReplies(request, message));
  }

  /** Stops every task of an app; resolves when they have ended. */
  async stopApplication(applicationId: string): Promise<void> {
    await Promise.all(this.options.registry.ofApplication(applicationId).map((task) => task.stop()));
  }

  /** Stops all tasks and takes no more. */
  async shutdown(): Promise<void> {
    this.isAccepting = false;
    await Promise.all(this.options.registry.all().map((task) => task.stop()));
  }

  private async run(message: StagingMessage, replies: StagingReplies & { refused(error: string): void }) {
    const { registry, ledger, context, logger, snapshot } = this.options;
    if (registry.get(message.task_id)) {
      const fault = new InvalidMessageError('staging', [`task_id: ${message.task_id} is being staged already`]);
      logger.error('staging.handle.failed', errorData(fault));
      replies.refused(`Error staging: ${fault.message}`);
      return;
    }
    const task = new StagingTask(message, replies, context);
    registry.register(task);
    try {
      await ledger.reserve({ id: task.reservationId, owner: 'staging', ...task.size });
    } catch (error) {
      registry.unregister(task);
      const isRoom = error instanceof InsufficientResourcesError;
      if (!isRoom) logger.error('staging.handle.failed', errorData(error));
      replies.refused(isRoom ? error.message : `Error staging: ${(error as Error).message}`);
      return;
    }
    snapshot.saveSoon();
    await task.run();
    registry.unregister(task);
    snapshot.saveSoon();
    await this.startAfter(task);
  }

  /** The stager starts the first instance itself, from the droplet that it has just made (docs/protocol/dea.md §17.7). */
  private async startAfter(task: StagingTask): Promise<void> {
    const { start_message: startMessage } = task.message;
    const isWanted = startMessage && Object.keys(startMessage).length > 0;
    if (!isWanted || !task.succeeded || task.isStopped || !this.isAccepting) return;
    try {
      await this.options.instances.startInstance({ ...startMessage, sha1: task.droplet });
    } catch (error) {
      this.options.logger.warn('Error validating instance: ', errorData(error));
    }
  }
}

function natsReplies(request: BusMessage, message: StagingMessage): StagingReplies & { refused(error: string): void } {
  const { task_id, app_id } = message;
  return {
    refused: (error) => request.reply({ task_id, error }),
    setUp: (error, logUrl) => request.reply({ task_id, task_streaming_log_url: logUrl, error }),
    completed: (result) => request.reply(result),
    stopped: () => request.reply({ task_id, app_id, error: 'Error staging: task stopped' }),
  };
}

function taskIdOf(data: unknown): unknown {
  return typeof data === 'object' && data !== null ? ((data as Record<string, unknown>).task_id ?? null) : null;
}
