import type { Logger } from '../../../logging/logger.js';
import { Turnstile } from '../../../process/turnstile.js';
import { type Freshness, isActualFresh } from '../../decisions/freshness.js';
import type { AppState, DesiredApp, InstanceHeartbeat, PendingStart, PendingStop } from '../../records.js';
import type {
  AppVersion,
  HealthStore,
  NewOrders,
  RawEntry,
  ReceivedHeartbeat,
  SendResult,
  StoreTimes,
} from '../health-store.js';
import { readApp, readOrders } from './app-entries.js';
import { compact } from './compaction.js';
import { RedisConnection } from './connection.js';
import { Database, inPairs } from './database.js';
import { StoreUnavailableError } from './errors.js';
import { InstanceMirror } from './instance-mirror.js';
import { appKey } from './keys.js';
import { Quarantine } from './quarantine.js';
import { rawEntries } from './raw-entries.js';
import { SavedLists } from './saved-lists.js';
import * as scripts from './scripts.js';
import { orderEntries, Snapshot } from './snapshot.js';
import { readMark, writeCrashCount, writeDesired, writeInstance, writeStart, writeStop } from './values.js';

export interface RedisStoreOptions {
  times: StoreTimes;
  /** `redis://[user:password@]host:port[/db]`, or `rediss://` for TLS. */
  url: string;
  /**
   * Begins every key; the braces keep them in one slot of a cluster, the last part is the version of the layout.
   *
   * @default {hm}:v1:
   */
  prefix?: string;
  /** Unix seconds. @default Redis's own time, which all who share it go by */
  clock?: () => number;
  /** Limit of a command, in milliseconds. @default 5000 */
  timeoutMs?: number;
  logger: Logger;
}

/**
 * What one script, or one command, is about at most: less than 100 KB. One goes after the other, so that the time limit
 * of a command is not used up by those before it.
 */
const sliceSizes = { deas: 500, apps: 100, desired: 500, orders: 200 };
const slicesAtATime = 1;
/** Heartbeats that are on their way to Redis at a time. */
const listsAtATime = 2;
/** Silent DEAs that one save forgets at most; readers overlook them anyway. */
const sweptAtATime = 20;
/** A desired state that is never published goes away by itself. */
const draftTtlSeconds = 600;

/**
 * The store that several health managers share (docs/protocol/health-manager.md §3.4; the keys: keys.ts). Whatever reads
 * and writes is one script, so that Redis does it in one piece; what is believed for a time says until when by Redis's
 * clock. Redis must not evict keys.
 */
export class RedisStore implements HealthStore {
  readonly #connection: RedisConnection;
  readonly #database: Database;
  readonly #quarantine: Quarantine;
  readonly #savedLists: SavedLists;
  readonly #mirror: InstanceMirror;
  /** The mirror stays as it is while somebody looks at it. */
  readonly #mirrorTurns = new Turnstile(1);
  /** Whether the actual state had a gap that Redis could not be told of. */
  #hasUntoldGap = false;

  constructor(private readonly options: RedisStoreOptions) {
    const { url, logger, prefix = '{hm}:v1:', clock, timeoutMs, times } = options;
    this.#connection = new RedisConnection({ url, logger, ...(timeoutMs !== undefined && { timeoutMs }) });
    this.#database = new Database({ connection: this.#connection, prefix, clock });
    this.#quarantine = new Quarantine(this.#database, logger);
    this.#mirror = new InstanceMirror(this.#database);
    this.#savedLists = new SavedLists(times.heartbeatTtl * 1000);
  }

  async start(): Promise<void> {
    await this.#connection.start();
  }

  async stop(): Promise<void> {
    await this.#connection.stop();
  }

  async now(): Promise<number> {
    return Math.floor((await this.#database.now()) / 1000);
  }

  saveHeartbeats(heartbeats: ReceivedHeartbeat[]): Promise<InstanceHeartbeat[]> {
    return this.#quarantine.guard(async () => {
      const toRead = await this.#renew(heartbeats);
      return (await this.#connection.each(toRead, (received) => this.#saveList(received), listsAtATime)).flat();
    });
  }

  bumpActual(): Promise<void> {
    return this.#quarantine.guard(async () => {
      const ttl = inMilliseconds(this.options.times.actualFreshnessTtl);
      await this.#database.run(scripts.bumpActual, [ttl, this.#hasUntoldGap ? 'anew' : '']);
      this.#hasUntoldGap = false;
    });
  }

  async revokeActual(): Promise<void> {
    this.#hasUntoldGap = true;
    this.#savedLists.clear();
    await this.#connection.attempt(() => this.#connection.commands.del(this.#database.key('actual-fresh')));
    this.#hasUntoldGap = false;
  }

  syncDesired(apps: DesiredApp[]): Promise<void> {
    return this.#quarantine.guard(async () => {
      const name = SavedLists.newName();
      const draft = this.#database.key(`desired.new:${name}`);
      const entries = new Map(apps.map((app) => [appKey(app), writeDesired(app)]));
      await this.#inSlices([...entries], sliceSizes.desired, async (slice) => {
        await this.#connection.commands.hset(draft, ...slice.flat());
        await this.#connection.commands.expire(draft, draftTtlSeconds);
      });
      const ttl = inMilliseconds(this.options.times.desiredFreshnessTtl);
      const published = await this.#database.run(scripts.publishDesired, [ttl, name, entries.size]);
      if (published !== 1) throw new StoreUnavailableError('Redis lost a part of the desired state on the way');
    });
  }

  freshness(): Promise<Freshness> {
    return this.#quarantine.guard(async () => {
      const marks = (await this.#database.run(scripts.readMarks)) as (string | null)[];
      const now = Number(marks[2]);
      const [actual, desired] = marks.slice(0, 2).map((value) => {
        const mark = readMark(value ?? null);
        return mark && mark.until > now ? { timestamp: mark.since / 1000 } : undefined;
      });
      return {
        isActualFresh: isActualFresh(actual, this.options.times.actualFreshnessTtl, now / 1000),
        isDesiredFresh: desired !== undefined,
      };
    });
  }

  getApps(wanted: AppVersion[]): Promise<(AppState | undefined)[]> {
    return this.#quarantine.guard(async () => {
      const found = await this.#inSlices(wanted.map(appKey), sliceSizes.apps, (keys) => this.#readApps(keys));
      return found.flat();
    });
  }

  forEachApp(visit: (app: AppState) => void): Promise<void> {
    return this.#quarantine.guard(() =>
      this.#mirrorTurns.pass(async () => {
        const snapshot = await Snapshot.take(this.#database, this.#mirror);
        await snapshot.forEachApp(visit);
      }),
    );
  }

  saveOrders({ crashCounts, starts, stops }: NewOrders): Promise<void> {
    const entries = [
      ...crashCounts.map((count) => [appKey(count), `crash,${count.index}`, writeCrashCount(count)]),
      ...starts.map((start) => [appKey(start), startField(start), writeStart(start)]),
      ...stops.map((stop) => [appKey(stop), stopField(stop), writeStop(stop)]),
    ];
    return this.#quarantine.guard(async () => {
      const ttl = inMilliseconds(this.options.times.crashCountTtl);
      await this.#inSlices(entries, sliceSizes.orders, (slice) =>
        this.#database.run(scripts.saveOrders, [ttl, ...slice.flat()]),
      );
    });
  }

  async pendingStarts(): Promise<PendingStart[]> {
    const found: PendingStart[] = [];
    await this.#forEachOrders(({ pendingStarts }) => found.push(...pendingStarts.values()));
    return found;
  }

  async pendingStops(): Promise<PendingStop[]> {
    const found: PendingStop[] = [];
    await this.#forEachOrders(({ pendingStops }) => found.push(...pendingStops.values()));
    return found;
  }

  commitSendResult({ sentStarts, sentStops, deletedStarts, deletedStops }: SendResult): Promise<void> {
    const entries = [
      ...sentStarts.map((start) => [appKey(start), startField(start), start.messageId, writeStart(start)]),
      ...sentStops.map((stop) => [appKey(stop), stopField(stop), stop.messageId, writeStop(stop)]),
      ...deletedStarts.map((start) => [appKey(start), startField(start), start.messageId, '']),
      ...deletedStops.map((stop) => [appKey(stop), stopField(stop), stop.messageId, '']),
    ];
    return this.#quarantine.guard(async () => {
      await this.#inSlices(entries, sliceSizes.orders, (slice) =>
        this.#database.run(scripts.commitOrders, slice.flat()),
      );
    });
  }

  async holdApp(app: string, seconds: number): Promise<void> {
    await this.#quarantine.guard(() => this.#database.run(scripts.holdApp, [app, inMilliseconds(seconds)]));
  }

  async releaseApp(app: string): Promise<void> {
    const { commands } = this.#connection;
    await this.#guard(() => commands.zrem(this.#database.key('holds'), app));
  }

  async heldApps(): Promise<ReadonlySet<string>> {
    return new Set((await this.#quarantine.guard(() => this.#database.run(scripts.readHolds))) as string[]);
  }

  async saveMetrics(metrics: Record<string, number>): Promise<void> {
    const entries = Object.entries(metrics).flat();
    if (entries.length === 0) return;
    await this.#guard(() => this.#connection.commands.hset(this.#database.key('metrics'), ...entries));
  }

  async metrics(): Promise<Record<string, number>> {
    const found = await this.#guard(() => this.#connection.commands.hgetall(this.#database.key('metrics')));
    const entries = Object.entries(found).map(([name, value]): [string, number] => [name, Number(value)]);
    return Object.fromEntries(entries.filter(([, value]) => !Number.isNaN(value)));
  }

  compact(): Promise<void> {
    return this.#quarantine.guard(() => compact(this.#database));
  }

  rawEntries(): AsyncIterable<RawEntry> {
    return rawEntries(this.#database);
  }

  /** @returns the heartbeats whose lists have to be saved */
  async #renew(heartbeats: ReceivedHeartbeat[]): Promise<ReceivedHeartbeat[]> {
    const named = new Map<string, string>();
    for (const { dea, isRepeated } of heartbeats) {
      const name = this.#savedLists.nameOf(dea);
      if (isRepeated && name !== undefined) named.set(dea, name);
    }
    const ttl = inMilliseconds(this.options.times.heartbeatTtl);
    const [unknown] = await Promise.all([
      this.#inSlices([...named], sliceSizes.deas, (slice) =>
        this.#database.run(scripts.renewLists, [ttl, ...slice.flat()]),
      ),
      this.#database.run(scripts.sweepDeas, [sweptAtATime]),
    ]);
    for (const dea of unknown.flat() as string[]) named.delete(dea);
    for (const [dea, name] of named) this.#savedLists.note(dea, name);
    return heartbeats.filter(({ dea }) => !named.has(dea));
  }

  async #saveList(received: ReceivedHeartbeat): Promise<InstanceHeartbeat[]> {
    const { dea, instances, illegible } = received.read();
    const name = SavedLists.newName();
    const entries = instances.flatMap((entry) => [entry.instance, writeInstance(entry)]);
    const unread = illegible.filter((guid) => !guid.includes(',')).join(',');
    const ttl = inMilliseconds(this.options.times.heartbeatTtl);
    const found = await this.#database.run(scripts.saveList, [ttl, dea, name, unread, ...entries]);
    this.#savedLists.note(dea, name);
    const evacuating = new Set(found as string[]);
    if (evacuating.size === 0) return [];
    return instances.filter(({ instance }) => evacuating.delete(instance));
  }

  async #readApps(keys: string[]): Promise<(AppState | undefined)[]> {
    type Found = [desired: string | null, instances: string[], orders: string[], now: string];
    const found = (await this.#database.run(scripts.readApps, keys)) as Found[];
    return found.map(([desired, instances, orders, now], position) => {
      if (desired === null && instances.length === 0) return undefined;
      const entries = { desired: desired ?? undefined, instances: inPairs(instances), orders: inPairs(orders) };
      return readApp(keys[position]!, entries, Number(now));
    });
  }

  #forEachOrders(visit: (orders: ReturnType<typeof readOrders>) => void): Promise<void> {
    return this.#quarantine.guard(async () => {
      const now = await this.#database.now();
      const seen = new Set<string>();
      for await (const [key, entries] of orderEntries(this.#database)) {
        if (!seen.has(key)) visit(readOrders(key, entries, now));
        seen.add(key);
      }
    });
  }

  #inSlices<Item, Result>(items: Item[], size: number, call: (slice: Item[]) => Promise<Result>): Promise<Result[]> {
    const slices: Item[][] = [];
    for (let at = 0; at < items.length; at += size) slices.push(items.slice(at, at + size));
    return this.#connection.each(slices, call, slicesAtATime);
  }

  #guard<Result>(command: () => Promise<Result>): Promise<Result> {
    return this.#quarantine.guard(() => this.#connection.attempt(command));
  }
}

function startField({ index }: PendingStart): string {
  return `start,${index}`;
}

function stopField({ instance }: PendingStop): string {
  return `stop,${instance}`;
}

function inMilliseconds(seconds: number): number {
  return Math.round(seconds * 1000);
}
