import { randomUUID } from 'node:crypto';
import type { AppRunner } from './app-runner.js';
import type { Message, Peer } from './peer.js';

/** How long an order may take effect before it is given again. */
const patienceMs = 4_000;

/**
 * Cloud Controller and health manager in one, for one cell: has a set of apps that are to run, looks at the newest
 * heartbeat, starts what is missing and stops what is too much, as often as it takes.
 */
export class PlayedController {
  readonly desired = new Set<string>();
  readonly orders = { starts: 0, stops: 0 };
  private readonly orderedAt = new Map<string, number>();

  constructor(
    private readonly peer: Peer,
    private readonly apps: AppRunner,
  ) {}

  addApp(): void {
    this.desired.add(randomUUID());
  }

  /** Wants one of the apps no longer. */
  removeApp(): void {
    const [oldest] = this.desired;
    if (oldest !== undefined) this.desired.delete(oldest);
  }

  /** The newest heartbeat's entries of instances that live. */
  living(): Message[] {
    const beat = this.peer.all('dea.heartbeat').at(-1);
    return (beat?.data.droplets ?? []).filter(({ state }: Message) => state === 'RUNNING' || state === 'STARTING');
  }

  /** Whether exactly one running instance of each desired app is reported, and nothing else that lives. */
  get isSatisfied(): boolean {
    const running = this.living().map(({ droplet, state }) => (state === 'RUNNING' ? droplet : undefined));
    return running.length === this.desired.size && [...this.desired].every((app) => running.includes(app));
  }

  /** One pass of orders. */
  reconcile(): void {
    const cellId = this.peer.all('dea.advertise').at(-1)?.data.id;
    const living = this.living();
    for (const app of this.desired) {
      if (living.some(({ droplet }) => droplet === app) || !this.mayOrder(`start ${app}`)) continue;
      this.orders.starts += 1;
      this.apps.start(cellId, { droplet: app, uris: [`${app}.example.com`] });
    }
    const kept = new Set<string>();
    for (const { droplet, instance } of living) {
      const isExtra = !this.desired.has(droplet) || kept.has(droplet);
      kept.add(droplet);
      if (!isExtra || !this.mayOrder(`stop ${instance}`)) continue;
      this.orders.stops += 1;
      this.apps.stop(droplet, { instances: [instance] });
    }
  }

  private mayOrder(order: string): boolean {
    const now = performance.now();
    if (now - (this.orderedAt.get(order) ?? Number.NEGATIVE_INFINITY) < patienceMs) return false;
    this.orderedAt.set(order, now);
    return true;
  }
}
