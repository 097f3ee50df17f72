import type { Bus, Subscription } from '../../bus/bus.js';
import type { Logger } from '../../logging/logger.js';
import { crashQueueGroup, dropletExitedSchema, subjects } from '../messages.js';
import type { AppStore } from '../store/app-store.js';
import type { EventStore } from '../store/event-store.js';

export interface CrashRecorderOptions {
  bus: Bus;
  apps: AppStore;
  events: EventStore;
  logger: Logger;
}

/** Keeps crashes as events of their apps (docs/protocol/legacy-cc.md §6.1). Restarting is the health manager's job. */
export class CrashRecorder {
  private subscription: Subscription | undefined;

  constructor(private readonly options: CrashRecorderOptions) {}

  start(): void {
    this.subscription = this.options.bus.subscribe(subjects.dropletExited, ({ data }) => this.record(data), {
      queue: crashQueueGroup,
    });
  }

  stop(): void {
    this.subscription?.unsubscribe();
  }

  private record(data: unknown): void {
    const { apps, events, logger } = this.options;
    const parsed = dropletExitedSchema.safeParse(data);
    if (!parsed.success) {
      logger.warn('mini-cc.message.malformed', { subject: subjects.dropletExited, problem: parsed.error.message });
      return;
    }
    const { droplet, version, instance, index, reason, exit_status, exit_description } = parsed.data;
    if (reason.toLowerCase() !== 'crashed' || !apps.find(droplet)) return;
    events.add(droplet, 'app.crash', { version, instance, index, reason, exit_status, exit_description });
    logger.info('mini-cc.app.crashed', { app: droplet, index, exit_status, exit_description });
  }
}
