import type { Bus } from '../../bus/bus.js';
import { subjects } from '../messages.js';
import { type AppState, isLive } from '../records.js';
import type { HealthStore } from '../store/health-store.js';
import { BusAwayError } from './nats-transport.js';
import type { OrderTransport, StartOrder, StopOrder } from './transport.js';

export interface LegacyTransportOptions {
  bus: Bus;
  store: HealthStore;
}

/**
 * Orders as Cloud Controllers of June 2013 to March 2014 take them: `health.start` and `health.stop`, each with how many
 * instances run, which they check once more (docs/protocol/health-manager.md §6.4).
 */
export class LegacyTransport implements OrderTransport {
  constructor(private readonly options: LegacyTransportOptions) {}

  async start({ droplet, version, instance_index: index }: StartOrder): Promise<void> {
    const running = await this.#running(droplet, version);
    this.#publish(subjects.healthStart, { droplet, version, indices: [index], running });
  }

  async stop({ droplet, version, instance_guid: instance }: StopOrder): Promise<void> {
    const running = await this.#running(droplet, version);
    this.#publish(subjects.healthStop, { droplet, version, instances: { [instance]: version }, running });
  }

  async #running(app: string, version: string): Promise<Record<string, number>> {
    const [state] = await this.options.store.getApps([{ app, version }]);
    return { [version]: state ? countLive(state) : 0 };
  }

  #publish(subject: string, order: unknown): void {
    const { bus } = this.options;
    if (!bus.isConnected) throw new BusAwayError();
    bus.publish(subject, order);
  }
}

function countLive({ instances }: AppState): number {
  return [...instances.values()].filter(isLive).length;
}
