import type { Bus } from '../../bus/bus.js';
import { errorData, type Logger } from '../../logging/logger.js';
import type { App } from '../apps/app.js';
import { ApiError } from '../errors.js';
import {
  type FindDropletMessage,
  type FoundInstance,
  foundInstanceSchema,
  type StartMessage,
  type StopMessage,
  subjects,
} from '../messages.js';
import type { Cells } from '../placement/cells.js';
import type { Urls } from '../urls.js';
import { type MessageContext, startMessage } from './app-messages.js';
import type { DeaHttp } from './dea-http.js';

export interface DeaClientOptions {
  bus: Bus;
  cells: Cells;
  urls: Urls;
  context: MessageContext;
  /** For agents that take messages over HTTPS; without it all of them are spoken to on the bus. */
  http: DeaHttp | undefined;
  /** How long agents may take to tell of their instances. */
  findTimeoutMs: number;
  logger: Logger;
}

/** A reply that is late by so much still counts when an index has only a crashed instance so far. */
const graceMs = 100;

/** Instances that are placed and started at the same time; only requests over HTTPS take any. */
const startsAtOnce = 5;
/** So many cells may refuse an instance before it is given up (docs/protocol/legacy-cc.md §10). */
const startAttempts = 3;

/** What is said to agents about running apps (docs/protocol/legacy-cc.md §3, §4, §10). */
export class DeaClient {
  constructor(private readonly options: DeaClientOptions) {}

  /**
   * Starts instances in their order. A lack of room for one does not stop the others.
   * @throws ApiError AppPackageNotFound without a droplet; the first index's error after all were tried
   */
  async startInstances(app: App, indices: number[]): Promise<void> {
    const failures: unknown[] = [];
    for (let begun = 0; begun < indices.length; begun += startsAtOnce) {
      const group = indices.slice(begun, begun + startsAtOnce);
      const outcomes = await Promise.allSettled(group.map((index) => this.startInstance(app, index)));
      for (const outcome of outcomes) if (outcome.status === 'rejected') failures.push(outcome.reason);
    }
    if (failures.length > 0) throw failures[0];
  }

  private async startInstance(app: App, index: number): Promise<void> {
    const { urls, context, logger } = this.options;
    try {
      if (app.droplet_hash === null) throw new ApiError('AppPackageNotFound', app.guid);
      const droplet = { sha1: app.droplet_hash, url: urls.dropletDownload(app.guid) };
      await this.sendStart(app, startMessage(app, index, droplet, context));
    } catch (error) {
      logger.warn('mini-cc.instance.not-started', { app: app.guid, index, ...errorData(error) });
      throw error;
    }
  }

  /** What an agent does not answer for is repaired by the health manager; one that takes no more is passed over. */
  private async sendStart(app: App, message: StartMessage): Promise<void> {
    const { bus, cells, http, logger } = this.options;
    for (let attempt = 1; attempt <= startAttempts; attempt += 1) {
      const deaId = cells.placeInstance(app);
      logger.info('mini-cc.instance.start', { app: app.guid, index: message.index, dea: deaId });
      const url = http && cells.addressOf(deaId);
      if (!url) return bus.publish(subjects.deaStart(deaId), message);
      if ((await http.start(url, message)) !== 'unavailable') return;
      cells.withdraw(deaId);
    }
    throw new ApiError('InsufficientRunningResourcesAvailable', app.name);
  }

  stop(message: StopMessage): void {
    this.options.bus.publish(subjects.deaStop, message);
  }

  updateRoutes(app: App): void {
    this.options.bus.publish(subjects.deaUpdate, { droplet: app.guid, uris: app.routes, version: app.version });
  }

  /** For health managers of before August 2014: number of instances or state of the app have changed. */
  announceChange(appGuid: string): void {
    this.options.bus.publish(subjects.dropletUpdated, { droplet: appGuid });
  }

  /** The one instance that fits, or undefined when none is told of in time. */
  async findInstance(message: FindDropletMessage): Promise<FoundInstance | undefined> {
    const { bus, findTimeoutMs } = this.options;
    const [reply] = await bus.request(subjects.deaFindDroplet, message, { timeoutMs: findTimeoutMs, maxReplies: 1 });
    return foundInstanceSchema.safeParse(reply).data;
  }

  /** All instances that are told of in the time for it, also several of one index. */
  async findAll(message: FindDropletMessage): Promise<FoundInstance[]> {
    const { bus, findTimeoutMs } = this.options;
    const timeUp = AbortSignal.timeout(findTimeoutMs);
    const found: FoundInstance[] = [];
    const replies = bus.requestStream(subjects.deaFindDroplet, message, { timeoutMs: findTimeoutMs, signal: timeUp });
    for await (const reply of replies) {
      const instance = foundInstanceSchema.safeParse(reply).data;
      if (instance?.droplet === message.droplet) found.push(instance);
    }
    return found;
  }

  /**
   * The app's instances, at most one for each index: a living one before a crashed one, a newer one before an older.
   * Comes back as soon as every index of `expected` is told of, else after the time for it.
   */
  async findInstances(message: FindDropletMessage, expected: number[]): Promise<Map<number, FoundInstance>> {
    const { bus, findTimeoutMs } = this.options;
    const found = new Map<number, FoundInstance>();
    if (expected.length === 0) return found;
    const waiting = new AbortController();
    const timer = setTimeout(() => waiting.abort(), findTimeoutMs);
    let grace: NodeJS.Timeout | undefined;
    try {
      const replies = bus.requestStream(subjects.deaFindDroplet, message, {
        timeoutMs: findTimeoutMs,
        signal: waiting.signal,
      });
      for await (const reply of replies) {
        const instance = foundInstanceSchema.safeParse(reply).data;
        if (!instance || instance.droplet !== message.droplet) continue;
        keepBetter(found, instance);
        if (!expected.every((index) => found.has(index))) continue;
        if (expected.every((index) => found.get(index)?.state !== 'CRASHED')) break;
        grace ??= setTimeout(() => waiting.abort(), graceMs);
      }
    } finally {
      clearTimeout(timer);
      clearTimeout(grace);
    }
    return found;
  }
}

/** States in the order in which one stands for an index. */
const precedence = ['CRASHED', 'STARTING', 'RUNNING'];

function keepBetter(found: Map<number, FoundInstance>, candidate: FoundInstance): void {
  const current = found.get(candidate.index);
  if (!current || rank(candidate) > rank(current)) found.set(candidate.index, candidate);
  else if (rank(candidate) === rank(current) && candidate.state_timestamp > current.state_timestamp) {
    found.set(candidate.index, candidate);
  }
}

function rank(instance: FoundInstance): number {
  return precedence.indexOf(instance.state);
}
