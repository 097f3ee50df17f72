import type { BusMessage } from '../../bus/bus.js';
import { InsufficientResourcesError, type Ledger } from '../../cell/ledger.js';
import { errorData, type Logger } from '../../logging/logger.js';
import type { Activity } from '../activity.js';
import type { InstanceManager } from '../instances/instance-manager.js';
import type { Intake } from '../intake.js';
import {
  InvalidMessageError,
  parseMessage,
  type StagingFailure,
  type StagingMessage,
  stagingMessageSchema,
} from '../messages.js';
import type { SavedStagingTask, Snapshot } from '../snapshot.js';
import { fetchListedBuildpacks } from './listed-buildpacks.js';
import { natsAnswers, type StagingAnswers } from './staging-answers.js';
import type { StagingContext } from './staging-context.js';
import type { StagingRegistry } from './staging-registry.js';
import { StagingTask } from './staging-task.js';

export interface StagingManagerOptions {
  context: StagingContext;
  registry: StagingRegistry;
  instances: InstanceManager;
  ledger: Ledger;
  snapshot: Snapshot;
  intake: Intake;
  activity?: Activity;
  logger: Logger;
}

/** How a message is answered. */
export interface StagingAnswering {
  to(message: StagingMessage): StagingAnswers;
  /** The only answer to a message that lacks a field or has a wrong one. */
  invalid(error: string): void;
}

/** Takes staging messages in, runs their tasks and starts the first instance after them (docs/protocol/dea.md §17). */
export class StagingManager {
  private readonly stopping = new AbortController();
  /** Those that have ended, and whose Cloud Controller is still being told before their app is started. */
  private readonly told = new Set<StagingTask>();
  private background: Promise<void> = Promise.resolve();

  constructor(private readonly options: StagingManagerOptions) {}

  /** Begins to fetch the buildpacks that the Cloud Controller has, without anybody waiting for it (§1.3, step 2). */
  start(): void {
    const { context, logger } = this.options;
    const { staging, cc_url: ccUrl } = context.config;
    if (!staging.enabled || ccUrl === undefined) return;
    const { buildpacks } = context;
    this.background = fetchListedBuildpacks({ ccUrl, buildpacks, signal: this.stopping.signal, logger });
  }

  /**
   * Stages what a NATS message asks for and answers it: twice, or once when there is no room or the message is bad.
   * Resolves when the task is over and its resources are released.
   */
  stage(request: BusMessage): Promise<void> {
    return this.take(request.data, {
      to: (message) => natsAnswers(request, message),
      invalid: (error) => request.reply({ task_id: taskIdOf(request.data), error }),
    });
  }

  /** Stages what a message of any origin asks for; `answers` says where the answers to it go. Likewise. */
  async take(data: unknown, answers: StagingAnswering): Promise<void> {
    let message: StagingMessage;
    try {
      message = parseMessage('staging', stagingMessageSchema, data);
    } catch (error) {
      this.options.logger.error('staging.handle.failed', errorData(error));
      answers.invalid(`Error staging: ${(error as Error).message}`);
      return;
    }
    const replies = answers.to(message);
    const { intake } = this.options;
    if (!intake.isOpen) {
      replies.refused(`Error staging: the agent is ${intake.closedBecause}`);
      return;
    }
    await this.run(message, replies);
  }

  /**
   * Ends the tasks that an earlier agent left behind (docs/protocol/dea.md §15): nobody goes on with them. Their
   * containers are reclaimed as orphans, their reservations as those of nobody. `report` tells Cloud Controllers that
   * take a completion over HTTP.
   */
  tellInterrupted(tasks: SavedStagingTask[], report: (failure: Required<StagingFailure>) => void): void {
    const { logger } = this.options;
    for (const { message } of tasks) {
      const parsed = stagingMessageSchema.safeParse(message);
      if (!parsed.success) continue;
      const { task_id, app_id, accepts_http: acceptsHttp } = parsed.data;
      logger.warn('staging.task.interrupted', { task_id, app_guid: app_id });
      if (acceptsHttp === true) report({ task_id, app_id, error: 'Error staging: the agent was restarted' });
    }
  }

  /** Stops every task of an app, and starts it after none of them; resolves when they have ended. */
  async stopApplication(applicationId: string): Promise<void> {
    const ended = [...this.told].filter(({ message }) => message.app_id === applicationId);
    await Promise.all([...ended, ...this.options.registry.ofApplication(applicationId)].map((task) => task.stop()));
  }

  /** Stops all tasks. */
  async shutdown(): Promise<void> {
    this.stopping.abort(new Error('the agent is shutting down'));
    await Promise.all([this.background, ...this.options.registry.all().map((task) => task.stop())]);
  }

  private async run(message: StagingMessage, replies: StagingAnswers) {
    const { registry, ledger, context, logger, snapshot, activity } = this.options;
    if (registry.get(message.task_id)) {
      const fault = new InvalidMessageError('staging', [`task_id: ${message.task_id} is being staged already`]);
      logger.error('staging.handle.failed', errorData(fault));
      replies.refused(`Error staging: ${fault.message}`);
      return;
    }
    context.appLog.stagingRequested(message.app_id);
    const task = new StagingTask(message, replies, context);
    registry.register(task);
    try {
      await ledger.reserve({ id: task.reservationId, owner: 'staging', ...task.size });
    } catch (error) {
      registry.unregister(task);
      const isRoom = error instanceof InsufficientResourcesError;
      context.appLog.stagingFailed(message.app_id, (error as Error).message);
      if (!isRoom) logger.error('staging.handle.failed', errorData(error));
      replies.refused(isRoom ? error.message : `Error staging: ${(error as Error).message}`);
      return;
    }
    snapshot.saveSoon();
    const begunMs = performance.now();
    await task.run();
    activity?.stagingEnded((performance.now() - begunMs) / 1000, task.succeeded);
    registry.unregister(task);
    snapshot.saveSoon();
    // The Cloud Controller has to know of the droplet before it hears of an instance that runs it.
    this.told.add(task);
    await replies.delivered?.();
    this.told.delete(task);
    await this.startAfter(task);
  }

  /** The stager starts the first instance itself, from the droplet that it has just made (docs/protocol/dea.md §17.7). */
  private async startAfter(task: StagingTask): Promise<void> {
    const { start_message: startMessage } = task.message;
    const isWanted = startMessage && Object.keys(startMessage).length > 0;
    if (!isWanted || !task.succeeded || task.isStopped || !this.options.intake.isOpen) return;
    try {
      await this.options.instances.startInstance({ ...startMessage, sha1: task.droplet });
    } catch (error) {
      this.options.logger.warn('Error validating instance: ', errorData(error));
    }
  }
}

function taskIdOf(data: unknown): unknown {
  return typeof data === 'object' && data !== null ? ((data as Record<string, unknown>).task_id ?? null) : null;
}
