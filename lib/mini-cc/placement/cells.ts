import type { z } from 'zod';
import type { Bus, Subscription } from '../../bus/bus.js';
import type { Logger } from '../../logging/logger.js';
import type { App } from '../apps/app.js';
import { ApiError } from '../errors.js';
import {
  type DeaAdvertisement,
  deaAdvertisementSchema,
  deaShutdownSchema,
  type StagerAdvertisement,
  stagerAdvertisementSchema,
  subjects,
} from '../messages.js';
import { AdvertisementPool } from './advertisement-pool.js';
import { chooseDea, chooseStager, type Random } from './placement.js';

export interface CellsOptions {
  bus: Bus;
  /** A cell that has not advertised for so long is gone. */
  advertisementTimeoutMs: number;
  minimumStagingMemoryMb: number;
  minimumStagingDiskMb: number;
  logger: Logger;
  /** Milliseconds since 1970. */
  now: () => number;
  random: Random;
  /** Tells a stager that has just come about the buildpacks. */
  onNewStager(): void;
}

/** What placement looks at in an app; MB. */
export type PlacedApp = Pick<App, 'guid' | 'name' | 'stack' | 'memory' | 'disk_quota'>;

/**
 * The cells that advertise themselves, and the choice among them. What is sent to a cell is taken off its entry at
 * once, in both pools, so that many starts in a row spread before the next advertisement (§2.3).
 */
export class Cells {
  private readonly deas: AdvertisementPool<DeaAdvertisement>;
  private readonly stagers: AdvertisementPool<StagerAdvertisement>;
  private subscriptions: Subscription[] = [];

  constructor(private readonly options: CellsOptions) {
    this.deas = new AdvertisementPool(options.advertisementTimeoutMs);
    this.stagers = new AdvertisementPool(options.advertisementTimeoutMs);
  }

  start(): void {
    const { now, onNewStager } = this.options;
    this.on(subjects.deaAdvertise, deaAdvertisementSchema, (advertisement) => this.deas.put(advertisement, now()));
    this.on(subjects.deaShutdown, deaShutdownSchema, ({ id }) => this.deas.remove(id));
    this.on(subjects.stagingAdvertise, stagerAdvertisementSchema, (advertisement) => {
      if (this.stagers.put(advertisement, now())) onNewStager();
    });
  }

  stop(): void {
    for (const subscription of this.subscriptions.splice(0)) subscription.unsubscribe();
  }

  /**
   * Chooses a cell for one instance and takes the instance off its entry.
   * @returns the cell's id
   * @throws ApiError InsufficientRunningResourcesAvailable
   */
  placeInstance(app: PlacedApp): string {
    const { now, random } = this.options;
    const need = { memoryMb: app.memory, diskMb: app.disk_quota, stack: app.stack, appGuid: app.guid };
    const chosen = chooseDea(this.deas.prune(now()), need, random);
    if (!chosen) throw new ApiError('InsufficientRunningResourcesAvailable', app.name);
    this.takeMemory(chosen.id, app.memory);
    this.deas.adjust(chosen.id, (advertisement) => ({
      ...advertisement,
      app_id_to_count: {
        ...advertisement.app_id_to_count,
        [app.guid]: (advertisement.app_id_to_count[app.guid] ?? 0) + 1,
      },
    }));
    return chosen.id;
  }

  /**
   * Chooses a stager and takes the staging's memory off its entry.
   * @returns the stager's id
   * @throws ApiError StackNotFound, StagingError
   */
  placeStaging(app: PlacedApp): string {
    const { now, random, minimumStagingMemoryMb, minimumStagingDiskMb } = this.options;
    if (!this.stagers.knowsStack(app.stack)) {
      throw new ApiError('StackNotFound', `The requested app stack ${app.stack} is not available on this system.`);
    }
    const memoryMb = Math.max(app.memory, minimumStagingMemoryMb);
    const diskMb = Math.max(app.disk_quota, minimumStagingDiskMb);
    const chosen = chooseStager(this.stagers.prune(now()), { memoryMb, diskMb, stack: app.stack }, random);
    if (!chosen) throw new ApiError('StagingError', 'no available stagers');
    this.takeMemory(chosen.id, memoryMb);
    return chosen.id;
  }

  /** Lets a cell, or all of them, count as silent for too long. @returns the ids of those that were known */
  expire(id?: string): string[] {
    const ids = id === undefined ? [...new Set([...this.deas.ids(), ...this.stagers.ids()])] : [id];
    const now = this.options.now();
    return ids.filter((each) => [this.deas.expire(each, now), this.stagers.expire(each, now)].includes(true));
  }

  /** Where the cell takes messages over HTTPS; undefined when it has told of nothing like that. */
  addressOf(id: string): string | undefined {
    return this.list().find((advertisement) => advertisement.id === id)?.url ?? undefined;
  }

  /** Nothing more is to be placed on the cell until it advertises itself again: it has said that it takes no more. */
  withdraw(id: string): void {
    this.deas.remove(id);
    this.stagers.remove(id);
  }

  /** The living cells, as last advertised and adjusted since. */
  list(): DeaAdvertisement[] {
    return this.deas.prune(this.options.now());
  }

  private takeMemory(id: string, memoryMb: number): void {
    const take = <Advertisement extends StagerAdvertisement>(advertisement: Advertisement): Advertisement => ({
      ...advertisement,
      available_memory: advertisement.available_memory - memoryMb,
    });
    this.deas.adjust(id, take);
    this.stagers.adjust(id, take);
  }

  private on<Schema extends z.ZodType>(
    subject: string,
    schema: Schema,
    handle: (message: z.output<Schema>) => void,
  ): void {
    const { bus, logger } = this.options;
    const subscription = bus.subscribe(subject, ({ data }) => {
      const message = schema.safeParse(data);
      if (message.success) handle(message.data);
      else logger.warn('mini-cc.message.malformed', { subject, problem: message.error.message });
    });
    this.subscriptions.push(subscription);
  }
}
