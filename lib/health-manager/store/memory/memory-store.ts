import { type Freshness, type FreshnessMark, isActualFresh } from '../../decisions/freshness.js';
import type { AppState, DesiredApp, Heartbeat, InstanceHeartbeat, PendingStart, PendingStop } from '../../records.js';
import type {
  AppVersion,
  HealthStore,
  NewOrders,
  RawEntry,
  ReceivedHeartbeat,
  SendResult,
  StoreTimes,
} from '../health-store.js';
import { AppRecord } from './app-record.js';
import { rawEntriesOf, rawEntry } from './raw-entries.js';
import type { StateFile } from './state-file.js';

export interface MemoryStoreOptions {
  times: StoreTimes;
  /** Unix seconds. */
  clock(): number;
  /** Keeps crash counts and waiting orders over a restart; without it they are lost. */
  stateFile?: StateFile;
}

interface Presence {
  /** Unix seconds. */
  expiresAt: number;
  /** Instances that this DEA listed last and no other DEA since. */
  readonly instances: Set<string>;
  /** Whether another DEA listed one of them since. */
  hasLost: boolean;
}

interface ExpiringMark extends FreshnessMark {
  expiresAt: number;
}

/**
 * The store of a health manager that works alone: everything in memory, and what must not be forgotten on the disk. The
 * actual state is not brought back after a restart: it has to become fresh again first
 * (docs/protocol/health-manager.md §3.4).
 */
export class MemoryStore implements HealthStore {
  readonly #apps = new Map<string, AppRecord>();
  readonly #deas = new Map<string, Presence>();
  readonly #instances = new Map<string, InstanceHeartbeat>();
  /** Apps that have an order waiting, so that a send pass need not look at all. */
  readonly #withOrders = new Set<AppRecord>();
  #desired = new Set<AppRecord>();
  /** Unix seconds until which apps are held. */
  readonly #holds = new Map<string, number>();
  #metrics: Record<string, number> = {};
  #actual: ExpiringMark | undefined;
  #desiredMark: ExpiringMark | undefined;
  #sweptAt = Number.NEGATIVE_INFINITY;

  constructor(private readonly options: MemoryStoreOptions) {}

  async start(): Promise<void> {
    const kept = await this.options.stateFile?.load();
    if (!kept) return;
    for (const { app, version, ...count } of kept.crashCounts) this.#record(app, version).setCrashCount(count);
    for (const start of kept.starts) this.#setStart(start);
    for (const stop of kept.stops) this.#setStop(stop);
  }

  async stop(): Promise<void> {
    await this.options.stateFile?.close();
  }

  async now(): Promise<number> {
    return this.options.clock();
  }

  async saveHeartbeats(heartbeats: ReceivedHeartbeat[]): Promise<InstanceHeartbeat[]> {
    const now = this.#sweep();
    const expiresAt = now + this.options.times.heartbeatTtl;
    const newlyEvacuating: InstanceHeartbeat[] = [];
    for (const received of heartbeats) {
      const presence = this.#presence(received.dea);
      const isKept = presence.expiresAt > now && !presence.hasLost;
      presence.expiresAt = expiresAt;
      // A list is kept as long as its DEA is there, and no other DEA took instances over.
      if (!received.isRepeated || !isKept) this.#saveList(received.read(), presence, newlyEvacuating);
    }
    return newlyEvacuating;
  }

  async bumpActual(): Promise<void> {
    const now = this.#sweep();
    const { actualFreshnessTtl } = this.options.times;
    this.#actual = { timestamp: this.#actual?.timestamp ?? now, expiresAt: now + actualFreshnessTtl };
  }

  async revokeActual(): Promise<void> {
    this.#actual = undefined;
  }

  async syncDesired(apps: DesiredApp[]): Promise<void> {
    const before = this.#desired;
    this.#desired = new Set();
    for (const app of apps) {
      const record = this.#record(app.app, app.version);
      record.setDesired(app);
      this.#desired.add(record);
    }
    for (const record of before) {
      if (this.#desired.has(record)) continue;
      record.setDesired(undefined);
      this.#forgetIfEmpty(record);
    }
    const now = this.#sweep();
    this.#desiredMark = { timestamp: now, expiresAt: now + this.options.times.desiredFreshnessTtl };
  }

  async freshness(): Promise<Freshness> {
    const now = this.#sweep();
    return {
      isActualFresh: isActualFresh(this.#actual, this.options.times.actualFreshnessTtl, now),
      isDesiredFresh: this.#desiredMark !== undefined,
    };
  }

  async getApps(wanted: AppVersion[]): Promise<(AppState | undefined)[]> {
    this.#sweep();
    return wanted.map(({ app, version }) => {
      const record = this.#apps.get(keyOf(app, version));
      return record?.isKnown ? record : undefined;
    });
  }

  async forEachApp(visit: (app: AppState) => void): Promise<void> {
    const now = this.#sweep();
    for (const record of this.#apps.values()) {
      if (record.crashCounts.size > 0) record.dropCrashCountsBefore(now);
      visit(record);
      this.#forgetIfEmpty(record);
    }
  }

  async saveOrders({ crashCounts, starts, stops }: NewOrders): Promise<void> {
    const expiresAt = this.options.clock() + this.options.times.crashCountTtl;
    const counts = crashCounts.map((count) => ({ ...count, expiresAt }));
    await this.options.stateFile?.save({ crashCounts: counts, starts, stops });
    for (const { app, version, ...count } of counts) this.#record(app, version).setCrashCount(count);
    for (const start of starts) this.#setStart(start);
    for (const stop of stops) this.#setStop(stop);
  }

  async pendingStarts(): Promise<PendingStart[]> {
    return [...this.#withOrders].flatMap(({ pendingStarts }) => [...pendingStarts.values()]);
  }

  async pendingStops(): Promise<PendingStop[]> {
    return [...this.#withOrders].flatMap(({ pendingStops }) => [...pendingStops.values()]);
  }

  async commitSendResult(result: SendResult): Promise<void> {
    const current = {
      sentStarts: result.sentStarts.filter((start) => this.#isCurrentStart(start)),
      sentStops: result.sentStops.filter((stop) => this.#isCurrentStop(stop)),
      deletedStarts: result.deletedStarts.filter((start) => this.#isCurrentStart(start)),
      deletedStops: result.deletedStops.filter((stop) => this.#isCurrentStop(stop)),
    };
    await this.options.stateFile?.commit(current);
    for (const start of current.sentStarts) this.#setStart(start);
    for (const stop of current.sentStops) this.#setStop(stop);
    for (const { app, version, index } of current.deletedStarts) {
      this.#settle(app, version, (record) => record.deleteStart(index));
    }
    for (const { app, version, instance } of current.deletedStops) {
      this.#settle(app, version, (record) => record.deleteStop(instance));
    }
  }

  async holdApp(app: string, seconds: number): Promise<void> {
    this.#holds.set(app, this.options.clock() + seconds);
  }

  async releaseApp(app: string): Promise<void> {
    this.#holds.delete(app);
  }

  async heldApps(): Promise<ReadonlySet<string>> {
    this.#sweep();
    return new Set(this.#holds.keys());
  }

  async saveMetrics(metrics: Record<string, number>): Promise<void> {
    this.#metrics = { ...this.#metrics, ...metrics };
  }

  async metrics(): Promise<Record<string, number>> {
    return this.#metrics;
  }

  async compact(): Promise<void> {
    const now = this.#sweep();
    for (const record of [...this.#apps.values()]) {
      record.dropCrashCountsBefore(now);
      this.#forgetIfEmpty(record);
    }
    await this.options.stateFile?.compact(now);
  }

  async *rawEntries(): AsyncGenerator<RawEntry> {
    const now = this.#sweep();
    for (const [dea, { expiresAt }] of this.#deas) yield rawEntry(`deas/${dea}`, dea, expiresAt - now);
    for (const record of this.#apps.values()) yield* rawEntriesOf(record, now);
    for (const [app, until] of this.#holds) yield rawEntry(`holds/${app}`, app, until - now);
    for (const [name, value] of Object.entries(this.#metrics)) yield rawEntry(`metrics/${name}`, value);
    for (const [name, mark] of Object.entries({ actual: this.#actual, desired: this.#desiredMark })) {
      if (mark) yield rawEntry(`${name}-fresh`, mark.timestamp, mark.expiresAt - now);
    }
  }

  #presence(dea: string): Presence {
    let presence = this.#deas.get(dea);
    if (!presence) {
      presence = { expiresAt: 0, instances: new Set(), hasLost: false };
      this.#deas.set(dea, presence);
    }
    return presence;
  }

  #saveList(heartbeat: Heartbeat, presence: Presence, newlyEvacuating: InstanceHeartbeat[]): void {
    const { dea, instances, illegible } = heartbeat;
    presence.hasLost = false;
    const listed = new Set(illegible);
    for (const reported of instances) {
      listed.add(reported.instance);
      const before = this.#instances.get(reported.instance);
      if (reported.state === 'EVACUATING' && before?.state !== 'EVACUATING' && before?.state !== 'CRASHED') {
        newlyEvacuating.push(reported);
      }
      this.#place(reported, before);
      presence.instances.add(reported.instance);
    }
    for (const instance of presence.instances) {
      if (listed.has(instance)) continue;
      presence.instances.delete(instance);
      if (this.#instances.get(instance)?.dea === dea) this.#remove(instance);
    }
  }

  #place(reported: InstanceHeartbeat, before: InstanceHeartbeat | undefined): void {
    if (before && before.dea !== reported.dea) this.#disown(before);
    if (before && (before.app !== reported.app || before.version !== reported.version)) this.#remove(before.instance);
    const record = this.#record(reported.app, reported.version);
    // The record's own strings: one copy of each guid however often it is reported.
    const kept = { ...reported, app: record.app, version: record.version };
    this.#instances.set(reported.instance, kept);
    record.setInstance(kept);
  }

  #disown({ dea, instance }: InstanceHeartbeat): void {
    const presence = this.#deas.get(dea);
    if (presence?.instances.delete(instance)) presence.hasLost = true;
  }

  #remove(instance: string): void {
    const known = this.#instances.get(instance);
    if (!known) return;
    this.#instances.delete(instance);
    this.#settle(known.app, known.version, (record) => record.deleteInstance(instance));
  }

  /** Lets go of what has expired; once a second is enough. @returns the time */
  #sweep(): number {
    const now = this.options.clock();
    if (now === this.#sweptAt) return now;
    this.#sweptAt = now;
    for (const [dea, { expiresAt, instances }] of this.#deas) {
      if (expiresAt > now) continue;
      this.#deas.delete(dea);
      for (const instance of instances) if (this.#instances.get(instance)?.dea === dea) this.#remove(instance);
    }
    for (const [app, until] of this.#holds) if (until <= now) this.#holds.delete(app);
    if (this.#actual && this.#actual.expiresAt <= now) this.#actual = undefined;
    if (this.#desiredMark && this.#desiredMark.expiresAt <= now) this.#desiredMark = undefined;
    return now;
  }

  #record(app: string, version: string): AppRecord {
    const key = keyOf(app, version);
    let record = this.#apps.get(key);
    if (!record) {
      record = new AppRecord(app, version);
      this.#apps.set(key, record);
    }
    return record;
  }

  #setStart(start: PendingStart): void {
    const record = this.#record(start.app, start.version);
    record.setStart(start);
    this.#withOrders.add(record);
  }

  #setStop(stop: PendingStop): void {
    const record = this.#record(stop.app, stop.version);
    record.setStop(stop);
    this.#withOrders.add(record);
  }

  #isCurrentStart({ app, version, index, messageId }: PendingStart): boolean {
    return this.#apps.get(keyOf(app, version))?.pendingStarts.get(index)?.messageId === messageId;
  }

  #isCurrentStop({ app, version, instance, messageId }: PendingStop): boolean {
    return this.#apps.get(keyOf(app, version))?.pendingStops.get(instance)?.messageId === messageId;
  }

  #settle(app: string, version: string, change: (record: AppRecord) => void): void {
    const record = this.#apps.get(keyOf(app, version));
    if (!record) return;
    change(record);
    if (record.pendingStarts.size + record.pendingStops.size === 0) this.#withOrders.delete(record);
    this.#forgetIfEmpty(record);
  }

  #forgetIfEmpty(record: AppRecord): void {
    if (record.isEmpty) this.#apps.delete(keyOf(record.app, record.version));
  }
}

function keyOf(app: string, version: string): string {
  return `${app},${version}`;
}
