import type { Bus, Subscription } from '../../bus/bus.js';
import type { Credentials } from '../../http/url.js';
import { subjects } from '../messages.js';

export interface BulkCredentialsOptions {
  bus: Bus;
  /** Health managers ask for those of one partition. */
  partition: string;
  credentials: Credentials;
}

/** Tells health managers on the bus with which name they may read the bulk API (docs/protocol/legacy-cc.md §1.1). */
export class BulkCredentials {
  private subscription: Subscription | undefined;

  constructor(private readonly options: BulkCredentialsOptions) {}

  start(): void {
    const { bus, partition, credentials } = this.options;
    const { user, password } = credentials;
    this.subscription = bus.subscribe(subjects.bulkCredentials(partition), ({ reply }) => reply({ user, password }));
  }

  /** Idempotent. */
  stop(): void {
    this.subscription?.unsubscribe();
  }
}
