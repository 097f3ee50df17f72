import type { Database } from './database.js';
import { patternOf } from './keys.js';
import { dropOrphans, sweepDeas, tidyApps, tidyOrders } from './scripts.js';

/** Time after which a sent order is of no use to anybody, in seconds. */
const orderRetention = 3600;
/** How many things a script looks at: each of them stops Redis for some milliseconds at most. */
const batchSize = 100;

/**
 * Removes what nobody reads any more (docs/protocol/health-manager.md §11, `shred`): the rest of DEAs that are gone, old
 * orders and crash counts, and beside our own version of the layout older ones and what is none. Newer versions, locks
 * and what does not begin with our namespace stay.
 */
export async function compact(database: Database): Promise<void> {
  while ((await database.run(sweepDeas, [batchSize])) === batchSize);
  for await (const entries of database.hashEntries('instances')) {
    await inBatches(
      entries.map(([guid]) => guid),
      (guids) => database.run(dropOrphans, guids),
    );
  }
  for await (const keys of database.members('with-orders')) {
    await inBatches(keys, (apps) => database.run(tidyOrders, [orderRetention, ...apps]));
  }
  const appPrefix = database.key('app:');
  for await (const keys of database.keys(patternOf(appPrefix))) {
    await inBatches(
      keys.map((key) => key.slice(appPrefix.length)),
      (apps) => database.run(tidyApps, apps),
    );
  }
  await removeOldLayouts(database);
}

/** `<namespace>v<version>:` is what a prefix has to look like for its neighbours to be known. */
async function removeOldLayouts(database: Database): Promise<void> {
  const parts = /^(.+:)v(\d+):$/.exec(database.prefix);
  if (!parts) return;
  const namespace = parts[1]!;
  const version = Number(parts[2]);
  const { connection } = database;
  for await (const keys of database.keys(patternOf(namespace))) {
    const removed = keys.filter((key) => isOld(key.slice(namespace.length), version));
    await connection.each(removed, (key) => connection.commands.unlink(key));
  }
}

function isOld(name: string, version: number): boolean {
  if (name.startsWith('lock:')) return false;
  const parts = /^v(\d+):/.exec(name);
  return !parts || Number(parts[1]) < version;
}

async function inBatches<Item>(items: Item[], act: (batch: Item[]) => Promise<unknown>): Promise<void> {
  for (let at = 0; at < items.length; at += batchSize) await act(items.slice(at, at + batchSize));
}
