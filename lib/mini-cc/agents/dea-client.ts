import type { Bus } from '../../bus/bus.js';
import { errorData, type Logger } from '../../logging/logger.js';
import type { App } from '../apps/app.js';
import { ApiError } from '../errors.js';
import {
  type FindDropletMessage,
  type FoundInstance,
  foundInstanceSchema,
  type StopMessage,
  subjects,
} from '../messages.js';
import type { Cells } from '../placement/cells.js';
import type { Urls } from '../urls.js';
import { type MessageContext, startMessage } from './app-messages.js';

export interface DeaClientOptions {
  bus: Bus;
  cells: Cells;
  urls: Urls;
  context: MessageContext;
  /** How long agents may take to tell of their instances. */
  findTimeoutMs: number;
  logger: Logger;
}

/** A reply that is late by so much still counts when an index has only a crashed instance so far. */
const graceMs = 100;

/** What is said to agents about running apps (docs/protocol/legacy-cc.md §3, §4). */
export class DeaClient {
  constructor(private readonly options: DeaClientOptions) {}

  /**
   * Starts instances one by one. A lack of room for one does not stop the others.
   * @throws ApiError AppPackageNotFound without a droplet; the first index's error after all were tried
   */
  startInstances(app: App, indices: number[]): void {
    const { bus, cells, urls, context, logger } = this.options;
    let failure: unknown;
    for (const index of indices) {
      try {
        if (app.droplet_hash === null) throw new ApiError('AppPackageNotFound', app.guid);
        const deaId = cells.placeInstance(app);
        const droplet = { sha1: app.droplet_hash, url: urls.dropletDownload(app.guid) };
        bus.publish(subjects.deaStart(deaId), startMessage(app, index, droplet, context));
        logger.info('mini-cc.instance.start', { app: app.guid, index, dea: deaId });
      } catch (error) {
        logger.warn('mini-cc.instance.not-started', { app: app.guid, index, ...errorData(error) });
        failure ??= error;
      }
    }
    if (failure !== undefined) throw failure;
  }

  stop(message: StopMessage): void {
    this.options.bus.publish(subjects.deaStop, message);
  }

  updateRoutes(app: App): void {
    this.options.bus.publish(subjects.deaUpdate, { droplet: app.guid, uris: app.routes, version: app.version });
  }

  /** The one instance that fits, or undefined when none is told of in time. */
  async findInstance(message: FindDropletMessage): Promise<FoundInstance | undefined> {
    const { bus, findTimeoutMs } = this.options;
    const [reply] = await bus.request(subjects.deaFindDroplet, message, { timeoutMs: findTimeoutMs, maxReplies: 1 });
    return foundInstanceSchema.safeParse(reply).data;
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
