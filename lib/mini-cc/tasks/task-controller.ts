import { randomBytes, randomUUID } from 'node:crypto';
import { z } from 'zod';
import type { Credentials } from '../../http/url.js';
import { errorData, type Logger } from '../../logging/logger.js';
import type { DiegoContext } from '../diego/app-messages.js';
import { taskCompletionPath, taskCompletionSchema } from '../diego/messages.js';
import type { NsyncClient } from '../diego/nsync-client.js';
import { ApiError } from '../errors.js';
import type { AppStore } from '../store/app-store.js';
import type { TaskStore } from '../store/task-store.js';
import type { Urls } from '../urls.js';
import { isOver, type NewTask, type Task, taskMessage } from './task.js';

export interface TaskControllerOptions {
  apps: AppStore;
  tasks: TaskStore;
  nsync: NsyncClient;
  urls: Urls;
  context: DiegoContext;
  /** What bridges tell of the end with. */
  credentials: Credentials;
  /** MB. */
  defaultMemory: number;
  defaultDisk: number;
  maximumDisk: number;
  logger: Logger;
}

/** A task as the bridge's bulk data have it. */
export interface BulkTask {
  task_guid: string;
  state: Task['state'];
  completion_callback: string;
}

/**
 * Runs programs once with an app's droplet; it is always Diego that does, whoever runs the app
 * (docs/protocol/cc-bridge.md §2.4, §2.6).
 *
 *   PENDING --> RUNNING --> SUCCEEDED, FAILED
 *      |           +------> CANCELING --> FAILED
 *      +--> FAILED: nsync did not take it
 */
export class TaskController {
  constructor(private readonly options: TaskControllerOptions) {}

  /** @throws ApiError UnprocessableEntity; InvalidTaskAddress, TaskWorkersUnavailable, TaskError, and the task is FAILED */
  async create(appGuid: string, task: NewTask): Promise<Task> {
    const { apps, tasks, nsync, urls, context, defaultMemory, defaultDisk, maximumDisk } = this.options;
    const app = apps.get(appGuid);
    const { droplet_hash: sha1 } = app;
    if (sha1 === null || app.package_state !== 'STAGED') {
      throw new ApiError('UnprocessableEntity', 'Task must have a droplet: the app is not staged');
    }
    const disk = task.disk_in_mb ?? defaultDisk;
    if (disk > maximumDisk) throw new ApiError('UnprocessableEntity', `disk_in_mb exceeds the maximum: ${maximumDisk}`);
    const { guid } = tasks.insert({
      guid: randomUUID(),
      app_guid: appGuid,
      name: task.name ?? randomBytes(4).toString('hex'),
      command: task.command,
      state: 'PENDING',
      memory_in_mb: task.memory_in_mb ?? defaultMemory,
      disk_in_mb: disk,
      environment_variables: task.environment_variables,
    });
    const droplet = { sha1, url: urls.dropletPermalink(appGuid, sha1) };
    try {
      await nsync.desireTask(taskMessage(tasks.get(guid), app, droplet, this.callback(guid), context));
    } catch (error) {
      if (tasks.find(guid)?.state === 'PENDING') {
        tasks.update(guid, { state: 'FAILED', failure_reason: 'Unable to request task to be run' });
      }
      throw error;
    }
    // A short one may have told of its end before.
    return tasks.get(guid).state === 'PENDING' ? tasks.update(guid, { state: 'RUNNING' }) : tasks.get(guid);
  }

  /** @throws ApiError ResourceNotFound, UnprocessableEntity when it is over */
  async cancel(guid: string): Promise<Task> {
    const { tasks, nsync, logger } = this.options;
    const task = tasks.get(guid);
    if (isOver(task)) {
      throw new ApiError('UnprocessableEntity', `Task state is ${task.state} and therefore cannot be canceled`);
    }
    const cancelled = tasks.update(guid, { state: 'CANCELING' });
    // The bridge finds it in the bulk data as well.
    try {
      const status = await nsync.cancelTask(guid);
      if (status !== 202) logger.warn('mini-cc.task.not-cancelled', { task: guid, http_status: status });
    } catch (error) {
      logger.warn('mini-cc.task.not-cancelled', { task: guid, ...errorData(error) });
    }
    return cancelled;
  }

  /** Those of an app, in the order they were made. @throws ApiError AppNotFound */
  listOfApp(appGuid: string): Task[] {
    return this.options.tasks.listOfApp(this.options.apps.get(appGuid).guid);
  }

  /** @throws ApiError ResourceNotFound */
  get(guid: string): Task {
    return this.options.tasks.get(guid);
  }

  /** A page of all tasks, and the sequence number that the next one begins after. */
  bulk(afterId: number, limit: number): { task_states: BulkTask[]; token: { id: number | null } } {
    const found = this.options.tasks.list(afterId, limit);
    return {
      task_states: found.map(({ guid, state }) => ({
        task_guid: guid,
        state,
        completion_callback: this.callback(guid),
      })),
      token: { id: found.at(-1)?.id ?? null },
    };
  }

  /** Takes the end of a task; one that is over stays as it is. @throws ApiError NotFound, InvalidRequest */
  takeCompletion(guid: string, body: unknown): void {
    const { tasks } = this.options;
    const task = tasks.find(guid);
    if (!task) throw new ApiError('NotFound');
    const completion = taskCompletionSchema.safeParse(body);
    if (!completion.success) throw new ApiError('InvalidRequest', z.prettifyError(completion.error));
    if (completion.data.task_guid !== guid) throw new ApiError('InvalidRequest', 'task_guid is not that of the path');
    if (isOver(task)) return;
    const { failed, failure_reason } = completion.data;
    tasks.update(guid, failed ? { state: 'FAILED', failure_reason: failure_reason ?? '' } : { state: 'SUCCEEDED' });
  }

  private callback(guid: string): string {
    return this.options.urls.internal(taskCompletionPath(guid), this.options.credentials);
  }
}
