import { goDuration } from './go-duration.js';
import type { HealthStore, RawEntry } from './store/health-store.js';

const margin = '    ';

/**
 * Everything that a store has, as it stands there and sorted by its key, for people who look for a fault
 * (docs/protocol/health-manager.md §11, `dump --raw`).
 */
export async function rawDump(store: HealthStore): Promise<string> {
  const lines = [`Raw Dump - Current timestamp ${await store.now()}`];
  const entries: RawEntry[] = [];
  for await (const entry of store.rawEntries()) entries.push(entry);
  entries.sort((a, b) => (a.key < b.key ? -1 : 1));
  for (const { key, ttl, value } of entries) {
    lines.push(`${key} [TTL:${ttl === undefined ? ' ∞' : goDuration(ttl)}]:`, indented(value));
  }
  return `${lines.join('\n')}\n`;
}

function indented(value: string): string {
  return spreadOut(value)
    .split('\n')
    .map((line) => `${margin}${line}`)
    .join('\n');
}

function spreadOut(value: string): string {
  try {
    return JSON.stringify(JSON.parse(value), null, 2);
  } catch {
    return value;
  }
}
