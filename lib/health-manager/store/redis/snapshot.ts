import { setImmediate as breathe } from 'node:timers/promises';
import type { AppState } from '../../records.js';
import { type AppEntries, readApp } from './app-entries.js';
import type { Database } from './database.js';
import { ForeignValueError, StoreUnavailableError } from './errors.js';
import { isInstance } from './values.js';

/** Apps, or values, that are dealt with before others get their turn. */
const sliceSize = 1000;
const attempts = 5;

/**
 * Reads everything that is known of all apps, step by step: neither Redis nor this process stands still for it. What
 * changes meanwhile is seen as it was or as it is; nothing that is there all the time is missed.
 *
 * Values are kept as they stand in Redis, one string for an instance, and read when it is their app's turn.
 */
export class Snapshot {
  readonly #apps = new Map<string, AppEntries>();

  private constructor(private readonly now: number) {}

  /** @throws StoreUnavailableError, WrongTypeError, ForeignValueError */
  static async take(database: Database): Promise<Snapshot> {
    const snapshot = new Snapshot(await database.now());
    await snapshot.#readInstances(database);
    await snapshot.#readDesired(database);
    await snapshot.#readOrders(database);
    return snapshot;
  }

  /** Shows every app once, and keeps none. @throws ForeignValueError */
  async forEachApp(visit: (app: AppState) => void): Promise<void> {
    let visited = 0;
    for (const [key, entries] of this.#apps) {
      this.#apps.delete(key);
      visit(readApp(key, entries, this.now));
      visited += 1;
      if (visited % sliceSize === 0) await breathe();
    }
  }

  #entries(key: string): AppEntries {
    let entries = this.#apps.get(key);
    if (!entries) {
      entries = { instances: [], orders: [] };
      this.#apps.set(key, entries);
    }
    return entries;
  }

  /** An instance that moves meanwhile has one value at a time: it is seen with the DEA that it had or the one it has. */
  async #readInstances(database: Database): Promise<void> {
    const present = await presentDeas(database, this.now);
    const values = new Map<string, string>();
    for await (const entries of database.hashEntries('instances')) {
      for (const [guid, value] of entries) values.set(guid, value);
    }
    for (const dea of await presentDeas(database, this.now)) present.add(dea);
    let seen = 0;
    for (const [guid, value] of values) {
      if (!isInstance(value)) throw new ForeignValueError('instances', guid, value);
      const dea = value.slice(0, value.indexOf(','));
      if (present.has(dea)) this.#entries(appKeyIn(value)).instances.push([guid, value]);
      seen += 1;
      if (seen % (10 * sliceSize) === 0) await breathe();
    }
  }

  /** The desired state is replaced as a whole: a scan that began on one and ended on another is made again. */
  async #readDesired(database: Database): Promise<void> {
    for (let attempt = 0; attempt < attempts; attempt += 1) {
      const before = await generation(database);
      const found: [string, string][] = [];
      for await (const entries of database.hashEntries('desired')) found.push(...entries);
      if ((await generation(database)) !== before) continue;
      for (const [key, value] of found) this.#entries(key).desired = value;
      return;
    }
    throw new StoreUnavailableError('the desired state changes faster than it can be read');
  }

  async #readOrders(database: Database): Promise<void> {
    for await (const [key, entries] of orderEntries(database)) this.#entries(key).orders = entries;
  }
}

/** What waits, and crash counts, of all apps that have some: `<app>,<version>`, and field and value of each. */
export async function* orderEntries(database: Database): AsyncGenerator<[string, [string, string][]]> {
  const { connection } = database;
  for await (const keys of database.members('with-orders')) {
    const found = await connection.each(keys, async (key): Promise<[string, [string, string][]]> => {
      const orders = await connection.commands.hgetall(database.key(`orders:${key}`));
      return [key, Object.entries(orders)];
    });
    yield* found.filter(([, entries]) => entries.length > 0);
  }
}

/** DEAs whose presence has not ended at that time (unix milliseconds). */
async function presentDeas(database: Database, now: number): Promise<Set<string>> {
  const { connection } = database;
  const found = await connection.attempt(() =>
    connection.commands.zrangebyscore(database.key('deas'), `(${now}`, '+inf'),
  );
  return new Set(found);
}

function generation(database: Database): Promise<string | null> {
  return database.connection.attempt(() => database.connection.commands.get(database.key('desired-fresh')));
}

/** `<app>,<version>`, with which the value of an instance ends. */
function appKeyIn(value: string): string {
  const comma = value.lastIndexOf(',', value.lastIndexOf(',') - 1);
  return value.slice(comma + 1);
}
