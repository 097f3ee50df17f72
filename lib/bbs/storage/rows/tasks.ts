import { type Task, TaskDefinition, TaskState } from '../../messages/models.js';
import { openMessage, sealMessage } from '../encryption/envelope.js';
import type { KeyRing } from '../encryption/key-ring.js';
import type { TaskRow } from '../schema/tables.js';

/** A task as a row (docs/protocol/bbs.md §15). */
export function taskRow(task: Task, keys: KeyRing): TaskRow {
  const isOver = task.state === TaskState.Completed || task.state === TaskState.Resolving;
  return {
    guid: task.taskGuid,
    domain: task.domain,
    updated_at: task.updatedAt,
    created_at: task.createdAt,
    first_completed_at: task.firstCompletedAt,
    state: task.state,
    cell_id: task.cellId,
    result: isOver ? task.result : null,
    failed: task.failed,
    failure_reason: task.failureReason,
    task_definition: sealMessage(keys, TaskDefinition, task.taskDefinition ?? TaskDefinition.create()),
    rejection_count: task.rejectionCount,
    rejection_reason: task.rejectionReason,
  };
}

/** @throws Undecodable */
export function taskOf(row: TaskRow, keys: KeyRing): Task {
  return {
    taskDefinition: openMessage(keys, TaskDefinition, row.task_definition),
    taskGuid: row.guid,
    domain: row.domain,
    createdAt: row.created_at ?? 0n,
    updatedAt: row.updated_at ?? 0n,
    firstCompletedAt: row.first_completed_at ?? 0n,
    state: (row.state ?? 0) as TaskState,
    cellId: row.cell_id,
    result: row.result ?? '',
    failed: Boolean(row.failed),
    failureReason: row.failure_reason,
    rejectionCount: row.rejection_count,
    rejectionReason: row.rejection_reason,
  };
}
