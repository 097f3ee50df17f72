import { withMetricsGuid } from '../decisions/desired-lrps/read-forms.js';
import { taskFilter } from '../decisions/filters.js';
import { Task, type TasksRequest } from '../messages/models.js';
import { elementOf } from './element.js';

/** All tasks in memory. */
export class TaskRows {
  readonly #rows = new Map<string, Task>();
  /** Made when a task is asked for first. */
  readonly #elements = new Map<string, Buffer>();

  get size(): number {
    return this.#rows.size;
  }

  get(taskGuid: string): Task | undefined {
    return this.#rows.get(taskGuid);
  }

  all(): Iterable<Task> {
    return this.#rows.values();
  }

  set(task: Task): void {
    this.#rows.set(task.taskGuid, task);
    this.#elements.delete(task.taskGuid);
  }

  delete(taskGuid: string): void {
    this.#rows.delete(taskGuid);
    this.#elements.delete(taskGuid);
  }

  /** The response to a request for one; undefined when it is not there. */
  element(taskGuid: string): Buffer | undefined {
    const task = this.#rows.get(taskGuid);
    if (!task) return undefined;
    let element = this.#elements.get(taskGuid);
    if (!element) {
      element = elementOf(Task, taskAsRead(task));
      this.#elements.set(taskGuid, element);
    }
    return element;
  }

  /** The response to a request for a list (docs/protocol/bbs.md §9). */
  list(request: TasksRequest): Buffer {
    return Buffer.concat([...this.#select(request)].map(({ taskGuid }) => this.element(taskGuid)!));
  }

  /** The same, decoded, for older revisions. */
  *listDecoded(request: TasksRequest): Generator<Task> {
    for (const task of this.#select(request)) yield taskAsRead(task);
  }

  *#select(request: TasksRequest): Generator<Task> {
    const isAsked = taskFilter(request);
    for (const task of this.#rows.values()) if (isAsked(task)) yield task;
  }
}

/** Of the metrics guid and the tag `source_id` one is filled from the other (docs/protocol/bbs.md §2.1). */
export function taskAsRead(task: Task): Task {
  return task.taskDefinition ? { ...task, taskDefinition: withMetricsGuid(task.taskDefinition) } : task;
}
