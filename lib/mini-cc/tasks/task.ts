import { z } from 'zod';
import type { App } from '../apps/app.js';
import type { DiegoContext } from '../diego/app-messages.js';
import { diegoEgressRules } from '../diego/egress-rules.js';
import { diegoEnvironment } from '../diego/environment.js';
import type { TaskMessage } from '../diego/messages.js';

export type TaskState = 'PENDING' | 'RUNNING' | 'CANCELING' | 'SUCCEEDED' | 'FAILED';

/** A program that is run once with an app's droplet, on Diego; MB, ISO 8601. */
export interface Task {
  /** Sequence number of all tasks. */
  id: number;
  guid: string;
  app_guid: string;
  /** Number among those of its app, from 1. */
  sequence_id: number;
  name: string;
  command: string;
  state: TaskState;
  memory_in_mb: number;
  disk_in_mb: number;
  environment_variables: Record<string, unknown>;
  failure_reason: string | null;
  created_at: string;
  updated_at: string;
}

/** What a client may say of a new task. */
export const newTaskSchema = z.strictObject({
  command: z.string().min(1).max(4096),
  name: z.string().min(1).max(255).optional(),
  memory_in_mb: z.int().positive().optional(),
  disk_in_mb: z.int().positive().optional(),
  environment_variables: z.record(z.string(), z.unknown()).default({}),
});
export type NewTask = z.output<typeof newTaskSchema>;

/** Whether the task has ended. */
export function isOver({ state }: Task): boolean {
  return state === 'SUCCEEDED' || state === 'FAILED';
}

/**
 * What nsync is to have run (docs/protocol/cc-bridge.md §2.4). Pure.
 *
 * @param droplet the droplet's SHA-1, and where it can be fetched without credentials
 * @param completionCallback where the bridge tells of the end
 */
export function taskMessage(
  task: Task,
  app: App,
  droplet: { sha1: string; url: string },
  completionCallback: string,
  context: DiegoContext,
): TaskMessage {
  const env = { ...app.env, ...task.environment_variables };
  return {
    task_guid: task.guid,
    log_guid: app.guid,
    memory_mb: task.memory_in_mb,
    disk_mb: task.disk_in_mb,
    lifecycle: 'buildpack',
    environment: diegoEnvironment({ ...app, memory: task.memory_in_mb, env }, context.runningEnvironment, context),
    egress_rules: diegoEgressRules(context.runningRules),
    droplet_uri: droplet.url,
    droplet_hash: droplet.sha1,
    rootfs: app.stack,
    completion_callback: completionCallback,
    command: task.command,
    log_source: `APP/TASK/${task.name}`,
    volume_mounts: [],
  };
}
