import { Task, TaskState } from '../../../bbs/messages/models.js';
import type { BbsSession } from './session/bbs-session.js';
import type { Column } from './session/output.js';
import { readSpec } from './session/spec.js';
import { formatNanoseconds, nameOf } from './session/wording.js';

export interface TaskFilter {
  domain?: string;
  cellId?: string;
}

const columns: readonly Column<Task>[] = [
  ['task', ({ taskGuid }) => taskGuid],
  ['domain', ({ domain }) => domain],
  ['state', ({ state }) => nameOf(TaskState, state)],
  ['cell', ({ cellId }) => cellId],
  ['created', ({ createdAt }) => formatNanoseconds(createdAt)],
  ['outcome', outcomeOf],
];

/** Prints all tasks, or those of a domain or a cell. */
export async function tasks({ call, output }: BbsSession, { domain = '', cellId = '' }: TaskFilter): Promise<void> {
  const { tasks: found } = await call('Tasks', { domain, cellId });
  output.list(Task, found, columns);
}

/** Prints one. */
export async function task({ call, output }: BbsSession, taskGuid: string): Promise<void> {
  const { task: found } = await call('TaskByGuid', { taskGuid });
  if (found) output.one(Task, found);
}

/** @param spec JSON of a task, `@FILE` or `-` */
export async function createTask({ call, terminal }: BbsSession, spec: string): Promise<void> {
  const { taskGuid, domain, taskDefinition } = await readSpec(Task, spec, terminal);
  await call('DesireTask', { taskGuid, domain, taskDefinition });
}

/** Ends one, which then counts as failed. */
export async function cancelTask({ call }: BbsSession, taskGuid: string): Promise<void> {
  await call('CancelTask', { taskGuid });
}

/** Removes one that has completed. */
export async function deleteTask({ call }: BbsSession, taskGuid: string): Promise<void> {
  await call('ResolvingTask', { taskGuid });
  await call('DeleteTask', { taskGuid });
}

function outcomeOf({ failed, failureReason, result, rejectionReason }: Task): string {
  if (failed) return `failed: ${failureReason}`;
  return result || (rejectionReason && `rejected: ${rejectionReason}`);
}
