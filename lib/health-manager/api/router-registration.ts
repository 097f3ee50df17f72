import type { Bus, Subscription } from '../../bus/bus.js';
import { subjects } from '../messages.js';

export interface RouterRegistrationOptions {
  bus: Bus;
  /** URL under which clients reach the API; its host is registered. */
  url: string;
  host: string;
  port: number;
}

const periodMs = 20_000;

/** Makes the API known to routers (docs/protocol/health-manager.md §8.1). */
export class RouterRegistration {
  #timer: NodeJS.Timeout | undefined;
  #subscription: Subscription | undefined;

  constructor(private readonly options: RouterRegistrationOptions) {}

  start(): void {
    const { bus } = this.options;
    this.#subscription = bus.subscribe(subjects.routerStart, () => this.#publish(subjects.routerRegister));
    this.#timer = setInterval(() => this.#publish(subjects.routerRegister), periodMs);
    this.#publish(subjects.routerRegister);
  }

  /** Idempotent. */
  stop(): void {
    if (this.#timer === undefined) return;
    clearInterval(this.#timer);
    this.#timer = undefined;
    this.#subscription?.unsubscribe();
    this.#publish(subjects.routerUnregister);
  }

  #publish(subject: string): void {
    const { bus, url, host, port } = this.options;
    bus.publish(subject, { uris: [new URL(url).host], host, port });
  }
}
