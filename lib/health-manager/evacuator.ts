import { z } from 'zod';
import type { Bus, Subscription } from '../bus/bus.js';
import type { Logger } from '../logging/logger.js';
import type { MetricSink } from '../metrics/metric-sink.js';
import { subjects } from './messages.js';
import type { EvacuationStarts } from './orders/evacuation-starts.js';

export interface EvacuatorOptions {
  bus: Bus;
  evacuationStarts: EvacuationStarts;
  metrics: MetricSink;
  logger: Logger;
}

const exitSchema = z.object({
  droplet: z.string().min(1),
  version: z.string().min(1),
  index: z.int().min(0).default(0),
  reason: z.string(),
});

/** Exits that leave an index empty for good; crashes are told by heartbeats (docs/protocol/health-manager.md §2.3). */
const evacuationReasons = ['DEA_EVACUATION', 'DEA_SHUTDOWN'];

/** Replaces instances whose agents say that they are about to go. */
export class Evacuator {
  #subscription: Subscription | undefined;

  constructor(private readonly options: EvacuatorOptions) {}

  start(): void {
    this.#subscription = this.options.bus.subscribe(subjects.dropletExited, ({ data }) => this.#handle(data));
  }

  /** Idempotent. */
  stop(): void {
    this.#subscription?.unsubscribe();
    this.#subscription = undefined;
  }

  async #handle(data: unknown): Promise<void> {
    const exit = exitSchema.safeParse(data);
    if (!exit.success) {
      this.options.logger.error('Failed to read droplet.exited', { reason: z.prettifyError(exit.error) });
      return;
    }
    const { droplet, version, index, reason } = exit.data;
    if (!evacuationReasons.includes(reason)) return;
    this.options.logger.info('Replacing an instance that goes', { droplet, version, index, reason });
    const { evacuationStarts, metrics } = this.options;
    await evacuationStarts.order([{ app: droplet, version, index }], metrics);
  }
}
