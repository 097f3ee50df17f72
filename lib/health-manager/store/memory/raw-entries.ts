import type { RawEntry } from '../health-store.js';
import type { AppRecord } from './app-record.js';

/** What is known of one app-version, an entry for each thing; names as in the Redis layout. @param now unix seconds */
export function* rawEntriesOf(record: AppRecord, now: number): Generator<RawEntry> {
  const { app, version, desired, instances, crashCounts, pendingStarts, pendingStops } = record;
  const key = `${app},${version}`;
  if (desired) yield rawEntry(`desired/${key}`, desired);
  for (const instance of instances.values()) yield rawEntry(`instances/${instance.instance}`, instance);
  for (const { expiresAt, ...count } of crashCounts.values()) {
    yield rawEntry(`orders:${key}/crash,${count.index}`, count, expiresAt - now);
  }
  for (const start of pendingStarts.values()) yield rawEntry(`orders:${key}/start,${start.index}`, start);
  for (const stop of pendingStops.values()) yield rawEntry(`orders:${key}/stop,${stop.instance}`, stop);
}

/** @param ttl seconds */
export function rawEntry(key: string, value: unknown, ttl?: number): RawEntry {
  return { key, ttl: ttl === undefined ? undefined : Math.max(0, Math.ceil(ttl)), value: JSON.stringify(value) };
}
