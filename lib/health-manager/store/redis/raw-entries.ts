import type { RawEntry } from '../health-store.js';
import { type Database, inPairs } from './database.js';
import { patternOf } from './keys.js';
import { readMark } from './values.js';

/** A field or member of a key, or the key itself. */
interface Part {
  name?: string;
  /** Unix milliseconds, where the part says itself when it ends. */
  until?: number | undefined;
  value: string;
}

/**
 * Everything under the store's prefix, and the locks, as it stands there: a line for each string, field and member
 * (docs/protocol/health-manager.md §11, `dump --raw`).
 */
export async function* rawEntries(database: Database): AsyncGenerator<RawEntry> {
  const now = await database.now();
  const locks = `${database.prefix.replace(/v\d+:$/, '')}lock:`;
  for (const prefix of [database.prefix, locks]) {
    for await (const keys of database.keys(patternOf(prefix))) {
      const found = await database.connection.each(keys, (key) => entriesOf(database, key, now));
      for (const entries of found) yield* entries;
    }
  }
}

async function entriesOf(database: Database, key: string, now: number): Promise<RawEntry[]> {
  const { commands } = database.connection;
  const [parts, keyTtl] = await Promise.all([partsOf(database, key), commands.pttl(key)]);
  return parts.map(({ name, until, value }) => ({
    key: name === undefined ? key : `${key}/${name}`,
    ttl: ttlOf(until, keyTtl, now),
    value,
  }));
}

async function partsOf({ connection: { commands } }: Database, key: string): Promise<Part[]> {
  const type = await commands.type(key);
  switch (type) {
    case 'none':
      return [];
    case 'string': {
      const value = (await commands.get(key)) ?? '';
      return [{ value, until: readMark(value)?.until }];
    }
    case 'hash':
      return Object.entries(await commands.hgetall(key)).map(([name, value]) => ({ name, value }));
    case 'set':
      return (await commands.smembers(key)).map((name) => ({ name, value: '' }));
    case 'zset': {
      const members = inPairs(await commands.zrange(key, 0, -1, 'WITHSCORES'));
      return members.map(([name, score]) => ({ name, value: score, until: Number(score) }));
    }
    default:
      return [{ value: `(${type})` }];
  }
}

/** Seconds, rounded up; what is over has 0 until somebody removes it. */
function ttlOf(until: number | undefined, keyTtlMs: number, now: number): number | undefined {
  if (until !== undefined) return Math.max(0, Math.ceil((until - now) / 1000));
  return keyTtlMs >= 0 ? Math.ceil(keyTtlMs / 1000) : undefined;
}
