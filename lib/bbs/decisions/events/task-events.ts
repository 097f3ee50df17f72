import type { TaskChange } from '../tasks/lifecycle.js';
import type { TaskEvent } from './event.js';

/** What the task stream tells of one call (docs/protocol/bbs.md §11.2). */
export function taskEvents(changes: readonly TaskChange[]): TaskEvent[] {
  return changes.flatMap(eventsOf);
}

function eventsOf({ before, after }: TaskChange): TaskEvent[] {
  if (!after) return before ? [{ name: 'task_removed', message: { task: before } }] : [];
  if (!before) return [{ name: 'task_created', message: { task: after } }];
  return [{ name: 'task_changed', message: { before, after } }];
}
