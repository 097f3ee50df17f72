import type { Bus, BusMessage, Subscription } from '../../bus/bus.js';
import type { Ledger } from '../../cell/ledger.js';
import { errorData, type Logger } from '../../logging/logger.js';
import type { DeaConfig } from '../config.js';
import type { Heartbeat } from '../heartbeat.js';
import type { InstanceManager } from '../instances/instance-manager.js';
import type { InstanceRegistry } from '../instances/instance-registry.js';
import {
  findDropletSchema,
  instanceFilterSchema,
  parseMessage,
  stagingQueueGroup,
  stagingStopSchema,
  subjects,
  updateSchema,
} from '../messages.js';
import type { StagingManager } from '../staging/staging-manager.js';
import { type FindResponseContext, findResponse } from './find-droplet.js';
import { LegacyResponders } from './legacy-responders.js';
import type { Locator } from './locator.js';

export interface ResponderOptions {
  bus: Bus;
  config: DeaConfig;
  ledger: Ledger;
  instances: InstanceRegistry;
  manager: InstanceManager;
  staging: StagingManager;
  locator: Locator;
  heartbeat: Heartbeat;
  find: FindResponseContext;
  /** Whether the agent takes new apps; it does not while it evacuates or shuts down. */
  isAccepting(): boolean;
  /** All routes anew, and from then on in the interval that the router advises. */
  handleRouterStart(body: unknown): void;
  logger: Logger;
}

/** Subscriptions of the agent: what each subject does (docs/protocol/dea.md §4, §22). */
export class Responders {
  private subscriptions: Subscription[] = [];
  private stagingQueue: Subscription | undefined;
  private readonly legacy: LegacyResponders;

  constructor(private readonly options: ResponderOptions) {
    const { agentId, localIp } = options.find;
    this.legacy = new LegacyResponders({ ...options, agentId, localIp });
  }

  start(): void {
    const { config, find, staging } = this.options;
    const { agentId } = find;
    this.on(subjects.routerStart, ({ data }) => this.options.handleRouterStart(data));
    this.on(subjects.start(agentId), (message) => this.startInstance(message));
    this.on(subjects.stop, (message) => this.stopInstances(message));
    this.on(subjects.update, ({ data }) =>
      this.options.manager.updateApplication(parseMessage(subjects.update, updateSchema, data)),
    );
    this.on(subjects.findDroplet, (message) => this.findDroplet(message));
    if (config.staging.enabled) {
      this.on(subjects.stagingStart(agentId), (message) => staging.stage(message));
      this.on(subjects.stagingStop, ({ data }) =>
        staging.stopApplication(parseMessage(subjects.stagingStop, stagingStopSchema, data).app_id),
      );
    }
    if (config.staging.enabled && config.legacy_protocols.includes('staging')) {
      this.stagingQueue = this.on(subjects.stagingQueue, (message) => staging.stage(message), stagingQueueGroup);
    }
    this.legacy.start();
  }

  /** Takes no more messages. Idempotent. */
  stop(): void {
    for (const subscription of this.subscriptions) subscription.unsubscribe();
    this.subscriptions = [];
    this.legacy.stop();
  }

  /** Leaves stagings of the queue group to other agents. Idempotent. */
  leaveStagingQueue(): void {
    this.stagingQueue?.unsubscribe();
  }

  private on(subject: string, handler: (message: BusMessage) => void | Promise<void>, queue?: string): Subscription {
    const subscription = this.options.bus.subscribe(subject, handler, queue === undefined ? {} : { queue });
    this.subscriptions.push(subscription);
    return subscription;
  }

  private async startInstance({ data }: BusMessage): Promise<void> {
    try {
      await this.options.manager.startInstance(data);
    } catch (error) {
      this.options.logger.warn('Error validating instance: ', errorData(error));
    }
  }

  private async stopInstances({ data }: BusMessage): Promise<void> {
    const filter = parseMessage(subjects.stop, instanceFilterSchema, data);
    const { instances, manager, staging, logger } = this.options;
    const isWholeApplication = Object.keys(data as object).length === 1;
    const stagings = isWholeApplication ? staging.stopApplication(filter.droplet) : Promise.resolve();
    const stops = instances
      .matching(filter)
      .filter(({ state }) => state !== 'RESUMING' && state !== 'STOPPED' && state !== 'CRASHED')
      .map((instance) =>
        manager.stopInstance(instance).catch((error: unknown) => {
          logger.warn(`Failed stopping instance ${instance.id}`, errorData(error));
        }),
      );
    await Promise.all([stagings, ...stops]);
  }

  private async findDroplet({ data, reply }: BusMessage): Promise<void> {
    const request = parseMessage(subjects.findDroplet, findDropletSchema, data);
    const path = 'path' in (data as object) ? filePath(request.path) : undefined;
    const matching = this.options.instances.matching(request);
    if (request.include_stats) await Promise.all(matching.map((instance) => instance.collectStats()));
    for (const instance of matching) {
      reply(findResponse(instance, { path, withStats: request.include_stats }, this.options.find));
    }
  }
}

/** Any value counts as a path; what is no text asks for the root. */
function filePath(path: unknown): string | null {
  return typeof path === 'string' ? path : null;
}
