import type { CrashCount, DesiredApp, InstanceHeartbeat, PendingStart, PendingStop } from '../../records.js';
import { type AppState, isKnown } from '../../records.js';

const noCrashCounts: ReadonlyMap<number, ExpiringCrashCount> = new Map();
const noStarts: ReadonlyMap<number, PendingStart> = new Map();
const noStops: ReadonlyMap<string, PendingStop> = new Map();

/**
 * One version of one app. Of a quarter of a million apps nearly all have instances and nothing else, so the other maps
 * are made when they are needed.
 */
export class AppRecord implements AppState {
  revision = 0;
  readonly #instances = new Map<string, InstanceHeartbeat>();
  #desired: DesiredApp | undefined;
  crashCounts: ReadonlyMap<number, ExpiringCrashCount> = noCrashCounts;
  pendingStarts: ReadonlyMap<number, PendingStart> = noStarts;
  pendingStops: ReadonlyMap<string, PendingStop> = noStops;

  constructor(
    readonly app: string,
    readonly version: string,
  ) {}

  get desired(): DesiredApp | undefined {
    return this.#desired;
  }

  get instances(): ReadonlyMap<string, InstanceHeartbeat> {
    return this.#instances;
  }

  setDesired(desired: DesiredApp | undefined): void {
    const before = this.#desired;
    this.#desired = desired;
    if (before?.instances === desired?.instances && before?.packageState === desired?.packageState) return;
    this.revision += 1;
  }

  setInstance(instance: InstanceHeartbeat): void {
    this.#instances.set(instance.instance, instance);
    this.revision += 1;
  }

  deleteInstance(instance: string): void {
    this.#instances.delete(instance);
    this.revision += 1;
  }

  /** Whether the app is desired or has an instance. */
  get isKnown(): boolean {
    return isKnown(this);
  }

  get isEmpty(): boolean {
    return !this.isKnown && this.crashCounts.size + this.pendingStarts.size + this.pendingStops.size === 0;
  }

  setCrashCount(count: ExpiringCrashCount): void {
    this.crashCounts = withEntry(this.crashCounts, count.index, count);
    this.revision += 1;
  }

  dropCrashCountsBefore(now: number): void {
    for (const { index, expiresAt } of this.crashCounts.values()) {
      if (expiresAt > now) continue;
      this.crashCounts = withoutEntry(this.crashCounts, index);
      this.revision += 1;
    }
  }

  setStart(start: PendingStart): void {
    this.pendingStarts = withEntry(this.pendingStarts, start.index, start);
  }

  deleteStart(index: number): void {
    this.pendingStarts = withoutEntry(this.pendingStarts, index);
  }

  setStop(stop: PendingStop): void {
    this.pendingStops = withEntry(this.pendingStops, stop.instance, stop);
  }

  deleteStop(instance: string): void {
    this.pendingStops = withoutEntry(this.pendingStops, instance);
  }
}

export interface ExpiringCrashCount extends CrashCount {
  /** Unix seconds. */
  expiresAt: number;
}

/** An empty map may be the one that all apps share. */
function withEntry<Key, Value>(map: ReadonlyMap<Key, Value>, key: Key, value: Value): ReadonlyMap<Key, Value> {
  if (map.size === 0) return new Map([[key, value]]);
  (map as Map<Key, Value>).set(key, value);
  return map;
}

function withoutEntry<Key, Value>(map: ReadonlyMap<Key, Value>, key: Key): ReadonlyMap<Key, Value> {
  (map as Map<Key, Value>).delete(key);
  return map;
}
