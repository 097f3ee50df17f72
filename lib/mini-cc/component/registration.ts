import { randomBytes, randomUUID } from 'node:crypto';
import type { Bus, Subscription } from '../../bus/bus.js';
import type { Credentials } from '../../http/url.js';
import { formatUptime } from '../../process/uptime.js';
import { type ComponentRecord, subjects } from '../messages.js';

export interface ComponentRegistrationOptions {
  bus: Bus;
  /** Number of this one among several Cloud Controllers. */
  index: number;
  /** `address:port` that serves `/healthz` and `/varz`. */
  host: string;
  /** Milliseconds since 1970. */
  now: () => number;
}

/**
 * The Cloud Controller as a vcap component: announces itself at its start and answers who looks for components
 * (docs/protocol/legacy-cc.md §1.3).
 */
export class ComponentRegistration {
  /** What its pages want, made up for each start. */
  readonly credentials: Credentials = { user: randomWord(), password: randomWord() };
  private readonly uuid = randomUUID();
  private readonly startedAtMs = performance.now();
  private readonly startedAt: Date;
  private subscription: Subscription | undefined;

  constructor(private readonly options: ComponentRegistrationOptions) {
    this.startedAt = new Date(options.now());
  }

  start(): void {
    const { bus } = this.options;
    this.subscription = bus.subscribe(subjects.componentDiscover, ({ reply }) =>
      reply({ ...this.record(), uptime: this.uptime() }),
    );
    bus.publish(subjects.componentAnnounce, this.record());
  }

  /** Idempotent. */
  stop(): void {
    this.subscription?.unsubscribe();
  }

  record(): ComponentRecord {
    const { index, host } = this.options;
    const { user, password } = this.credentials;
    return {
      type: 'CloudController',
      index,
      uuid: `${index}-${this.uuid}`,
      host,
      credentials: [user, password],
      start: `${this.startedAt.toISOString().slice(0, 19).replace('T', ' ')} +0000`,
    };
  }

  /** `0d:1h:2m:3s` */
  uptime(): string {
    return formatUptime(performance.now() - this.startedAtMs);
  }
}

function randomWord(): string {
  return randomBytes(16).toString('hex');
}
