import type { StagingTask } from './staging-task.js';

/** The agent's staging tasks by id. */
export class StagingRegistry {
  private readonly byId = new Map<string, StagingTask>();

  register(task: StagingTask): void {
    this.byId.set(task.id, task);
  }

  unregister(task: StagingTask): void {
    if (this.byId.get(task.id) === task) this.byId.delete(task.id);
  }

  get(id: string): StagingTask | undefined {
    return this.byId.get(id);
  }

  all(): StagingTask[] {
    return [...this.byId.values()];
  }

  ofApplication(applicationId: string): StagingTask[] {
    return this.all().filter((task) => task.message.app_id === applicationId);
  }
}
