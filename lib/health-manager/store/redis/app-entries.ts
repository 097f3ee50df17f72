import type { AppState, DesiredApp, InstanceHeartbeat, PendingStart, PendingStop } from '../../records.js';
import { ForeignValueError } from './errors.js';
import { appVersionOf } from './keys.js';
import { type ExpiringCrashCount, readCrashCount, readDesired, readInstance, readStart, readStop } from './values.js';

/** What Redis has of one app-version, as it stands there. */
export interface AppEntries {
  desired?: string | undefined;
  /** Guid and value. */
  instances: [string, string][];
  /** Field and value. */
  orders: [string, string][];
}

export interface Orders {
  crashCounts: Map<number, ExpiringCrashCount>;
  pendingStarts: Map<number, PendingStart>;
  pendingStops: Map<string, PendingStop>;
}

/**
 * Reads what is known of an app-version.
 *
 * @param key `<app>,<version>`
 * @param now unix milliseconds
 * @throws ForeignValueError
 */
export function readApp(key: string, { desired, instances, orders }: AppEntries, now: number): AppState {
  return {
    revision: undefined,
    ...appVersionOf(key),
    desired: desired === undefined ? undefined : desiredOf(key, desired),
    instances: new Map(instances.map(([guid, value]) => [guid, instanceOf(guid, value)])),
    ...readOrders(key, orders, now),
  };
}

/** As `readApp`, of its orders and crash counts. */
export function readOrders(key: string, entries: [string, string][], now: number): Orders {
  const orders: Orders = { crashCounts: new Map(), pendingStarts: new Map(), pendingStops: new Map() };
  for (const [field, value] of entries) {
    if (!addOrder(orders, field, value, now)) throw new ForeignValueError(`orders:${key}`, field, value);
  }
  return orders;
}

/** @returns whether it could be read */
function addOrder(orders: Orders, field: string, value: string, now: number): boolean {
  const comma = field.indexOf(',');
  const rest = field.slice(comma + 1);
  switch (field.slice(0, comma)) {
    case 'start': {
      const start = readStart(value);
      if (start) orders.pendingStarts.set(start.index, start);
      return start !== undefined;
    }
    case 'stop': {
      const stop = readStop(value);
      if (stop) orders.pendingStops.set(stop.instance, stop);
      return stop !== undefined;
    }
    case 'crash': {
      const count = readCrashCount(rest, value);
      if (count && count.expiresAt > now) orders.crashCounts.set(count.index, count);
      return count !== undefined;
    }
    default:
      return false;
  }
}

/** @throws ForeignValueError */
export function desiredOf(key: string, value: string): DesiredApp {
  const desired = readDesired(key, value);
  if (!desired) throw new ForeignValueError('desired', key, value);
  return desired;
}

function instanceOf(guid: string, value: string): InstanceHeartbeat {
  const instance = readInstance(guid, value);
  if (!instance) throw new ForeignValueError('instances', guid, value);
  return instance;
}
