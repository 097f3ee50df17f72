import { setTimeout as delay } from 'node:timers/promises';
import { errorData, type Logger } from '../../logging/logger.js';
import type { DesiredLRPSchedulingInfo, Task } from '../messages/models.js';
import { traceData } from '../request-id.js';
import type { PeerClient } from './peer-client.js';
import type { Auctions, LrpStart } from './peers.js';

export interface AuctioneerOptions {
  /** Such as `https://auctioneer.service.cf.internal:9016`. */
  address: string;
  /** When not, a request that TLS fails for is repeated without it. */
  requireTls: boolean;
  client: PeerClient;
  logger: Logger;
}

/** Of one request; more come in the next one. */
const batchSize = 1000;
/** While wishes come faster than requests end, those of so long go together. */
const paceMs = 10;

interface Wish {
  readonly body: object;
  readonly traceId: string;
}

/**
 * Asks the auctioneer (docs/protocol/bbs.md §13). One request of each kind is under way at a time; what comes meanwhile
 * goes into the next one. What it does not accept is logged: convergence asks again.
 */
export class Auctioneer implements Auctions {
  readonly #lrps: RequestQueue;
  readonly #tasks: RequestQueue;

  constructor(options: AuctioneerOptions) {
    this.#lrps = new RequestQueue('/v1/lrps', options);
    this.#tasks = new RequestQueue('/v1/tasks', options);
  }

  lrps(starts: readonly LrpStart[], traceId: string): void {
    this.#lrps.add(starts.map((start) => ({ body: lrpBody(start), traceId })));
  }

  tasks(tasks: readonly Task[], traceId: string): void {
    this.#tasks.add(tasks.map((task) => ({ body: taskBody(task), traceId })));
  }

  /** Drops what was not sent: convergence asks for it. Idempotent. */
  async stop(): Promise<void> {
    await Promise.all([this.#lrps.stop(), this.#tasks.stop()]);
  }
}

class RequestQueue {
  #waiting: Wish[] = [];
  #sending: Promise<void> | undefined;
  readonly #stopping = new AbortController();

  constructor(
    private readonly path: string,
    private readonly options: AuctioneerOptions,
  ) {}

  add(wishes: readonly Wish[]): void {
    if (this.#stopping.signal.aborted || wishes.length === 0) return;
    this.#waiting.push(...wishes);
    this.#sending ??= this.#sendAll().finally(() => {
      this.#sending = undefined;
    });
  }

  async stop(): Promise<void> {
    this.#waiting = [];
    this.#stopping.abort();
    await this.#sending;
  }

  async #sendAll(): Promise<void> {
    while (this.#waiting.length > 0) {
      const begun = performance.now();
      await this.#send(this.#waiting.splice(0, batchSize));
      if (this.#waiting.length > 0) await this.#pause(begun + paceMs - performance.now());
    }
  }

  async #pause(durationMs: number): Promise<void> {
    const { signal } = this.#stopping;
    if (durationMs > 0) await delay(durationMs, undefined, { signal }).catch(() => {});
  }

  async #send(batch: readonly Wish[]): Promise<void> {
    const { address, logger } = this.options;
    const body = JSON.stringify(batch.map((wish) => wish.body));
    const [first] = batch;
    const traceId = batch.every((wish) => wish.traceId === first!.traceId) ? first!.traceId : '';
    const data = { path: this.path, count: batch.length, ...traceData(traceId) };
    try {
      const status = await this.#post(`${address}${this.path}`, body, traceId);
      if (status !== 202) logger.error('bbs.auction.refused', { ...data, status });
    } catch (error) {
      if (this.#stopping.signal.aborted) return;
      logger.error('bbs.auction.not-requested', { ...data, ...errorData(error) });
    }
  }

  async #post(url: string, body: string, traceId: string): Promise<number> {
    const { client, requireTls } = this.options;
    try {
      return await client.send('POST', url, body, traceId);
    } catch (error) {
      if (requireTls || !url.startsWith('https:')) throw error;
      return client.send('POST', `http:${url.slice('https:'.length)}`, body, traceId);
    }
  }
}

function lrpBody({ info, indices }: LrpStart): object {
  const { processGuid, domain } = info.desiredLrpKey;
  const { rootFs, memoryMb, diskMb, maxPids } = info.desiredLrpResource;
  return {
    process_guid: processGuid,
    domain,
    indices,
    ...placement(info),
    RootFs: rootFs,
    MemoryMB: memoryMb,
    DiskMB: diskMb,
    MaxPids: maxPids,
  };
}

function placement({ placementTags, volumePlacement }: DesiredLRPSchedulingInfo): object {
  return { PlacementTags: orNull(placementTags), VolumeDrivers: volumePlacement?.driverNames ?? [] };
}

function taskBody({ taskGuid, domain, taskDefinition }: Task): object {
  const { rootFs = '', memoryMb = 0, diskMb = 0, maxPids = 0 } = taskDefinition ?? {};
  return {
    TaskGuid: taskGuid,
    Domain: domain,
    PlacementTags: orNull(taskDefinition?.placementTags ?? []),
    VolumeDrivers: taskDefinition?.volumeMounts.map(({ driver }) => driver) ?? [],
    RootFs: rootFs,
    MemoryMB: memoryMb,
    DiskMB: diskMb,
    MaxPids: maxPids,
    state: 'Invalid',
    failed: false,
  };
}

/** As Go writes lists that nobody filled. */
function orNull<T>(list: readonly T[]): readonly T[] | null {
  return list.length > 0 ? list : null;
}
