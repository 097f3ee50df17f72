import { z } from 'zod';
import type { Bus, Subscription } from '../../bus/bus.js';
import { errorData, type Logger } from '../../logging/logger.js';
import type { DeaClient } from '../agents/dea-client.js';
import type { App } from '../apps/app.js';
import {
  healthStartSchema,
  healthStopSchema,
  orderQueueGroup,
  type StopMessage,
  startOrderSchema,
  stopOrderSchema,
  subjects,
} from '../messages.js';
import type { HandOvers } from '../migration/hand-overs.js';
import type { AppStore } from '../store/app-store.js';
import { indicesToStart, instancesToStop, mayStart, mustStop } from './verdicts.js';

export interface OrderTakerOptions {
  bus: Bus;
  apps: AppStore;
  handOvers: HandOvers;
  deas: DeaClient;
  logger: Logger;
}

/**
 * Carries out what health managers order, if it still makes sense (docs/protocol/legacy-cc.md §6.2, §6.4). Orders come
 * on the bus, where one of several Cloud Controllers gets each, or over HTTP. What is malformed is logged and dropped;
 * so is a start for which there is no room: the health manager orders it again.
 */
export class OrderTaker {
  private subscriptions: Subscription[] = [];

  constructor(private readonly options: OrderTakerOptions) {}

  start(): void {
    const { bus } = this.options;
    const queue = { queue: orderQueueGroup };
    this.subscriptions = [
      bus.subscribe(subjects.hm9000Start, ({ data }) => this.takeStart(data), queue),
      bus.subscribe(subjects.hm9000Stop, ({ data }) => this.takeStop(data), queue),
      bus.subscribe(subjects.healthStart, ({ data }) => this.takeHealthStart(data), queue),
      bus.subscribe(subjects.healthStop, ({ data }) => this.takeHealthStop(data), queue),
    ];
  }

  /** Idempotent. */
  stop(): void {
    for (const subscription of this.subscriptions.splice(0)) subscription.unsubscribe();
  }

  /** `hm9000.start` and its HTTP form. */
  async takeStart(data: unknown): Promise<void> {
    const order = this.read('start', startOrderSchema, data);
    if (!order) return;
    const app = this.options.apps.find(order.droplet);
    if (mayStart(app, order)) await this.startInstances(app, [order.instance_index]);
    else this.ignore('start', order);
  }

  /** `hm9000.stop` and its HTTP form. */
  async takeStop(data: unknown): Promise<void> {
    const order = this.read('stop', stopOrderSchema, data);
    if (!order) return;
    const { droplet, instance_guid: instance } = order;
    const { apps, handOvers } = this.options;
    if (mustStop(apps.find(droplet), order, handOvers.find(droplet)))
      this.stopInstances({ droplet, instances: [instance] });
    else this.ignore('stop', order);
  }

  private async takeHealthStart(data: unknown): Promise<void> {
    const order = this.read(subjects.healthStart, healthStartSchema, data);
    const app = order && this.options.apps.find(order.droplet);
    if (!app) return;
    await this.startInstances(app, indicesToStart(app, order));
  }

  private takeHealthStop(data: unknown): void {
    const order = this.read(subjects.healthStop, healthStopSchema, data);
    if (!order) return;
    const { droplet } = order;
    const instances = instancesToStop(this.options.apps.find(droplet), order, this.options.handOvers.find(droplet));
    // Without ids the message would mean all of the app.
    if (instances.length > 0) this.stopInstances({ droplet, instances });
  }

  private async startInstances(app: App, indices: number[]): Promise<void> {
    const { deas, logger } = this.options;
    if (indices.length === 0) return;
    logger.info('mini-cc.order.start', { app: app.guid, indices });
    try {
      await deas.startInstances(app, indices);
    } catch (error) {
      logger.warn('mini-cc.order.not-carried-out', { app: app.guid, indices, ...errorData(error) });
    }
  }

  private stopInstances(message: StopMessage): void {
    this.options.logger.info('mini-cc.order.stop', { app: message.droplet, instances: message.instances });
    this.options.deas.stop(message);
  }

  private ignore(kind: string, { droplet, version, instance_index }: z.output<typeof startOrderSchema>): void {
    this.options.logger.info('mini-cc.order.out-of-date', { kind, app: droplet, version, index: instance_index });
  }

  private read<Schema extends z.ZodType>(kind: string, schema: Schema, data: unknown): z.output<Schema> | undefined {
    const order = schema.safeParse(data);
    if (order.success) return order.data;
    this.options.logger.warn('mini-cc.order.malformed', { kind, problem: z.prettifyError(order.error) });
    return undefined;
  }
}
