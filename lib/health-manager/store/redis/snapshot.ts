import { setImmediate as breathe } from 'node:timers/promises';
import type { AppState } from '../../records.js';
import { desiredOf, readOrders } from './app-entries.js';
import type { Database } from './database.js';
import { StoreUnavailableError } from './errors.js';
import type { InstanceMirror } from './instance-mirror.js';
import { appVersionOf } from './keys.js';

/** Apps that are dealt with before others get their turn. */
const sliceSize = 1000;
const attempts = 5;

/**
 * Reads everything that is known of all apps, step by step: neither Redis nor this process stands still for it. What
 * changes meanwhile is seen as it was or as it is; nothing that is there all the time is missed.
 *
 * Desired states and orders are kept as they stand in Redis, and read when it is their app's turn.
 */
export class Snapshot {
  #desired = new Map<string, string>();
  readonly #orders = new Map<string, [string, string][]>();

  private constructor(
    private readonly now: number,
    private readonly mirror: InstanceMirror,
  ) {}

  /** @throws StoreUnavailableError, WrongTypeError, ForeignValueError */
  static async take(database: Database, mirror: InstanceMirror): Promise<Snapshot> {
    const snapshot = new Snapshot(await database.now(), mirror);
    await mirror.update();
    await snapshot.#readDesired(database);
    for await (const [key, entries] of orderEntries(database)) snapshot.#orders.set(key, entries);
    return snapshot;
  }

  /** Shows every app once, and keeps none. The mirror must not be brought up to date meanwhile. @throws ForeignValueError */
  async forEachApp(visit: (app: AppState) => void): Promise<void> {
    let visited = 0;
    for (const key of this.#keys()) {
      visit(this.#app(key));
      visited += 1;
      if (visited % sliceSize === 0) await breathe();
    }
  }

  *#keys(): Generator<string> {
    const { apps } = this.mirror;
    yield* apps.keys();
    for (const key of this.#desired.keys()) if (!apps.has(key)) yield key;
    for (const key of this.#orders.keys()) if (!apps.has(key) && !this.#desired.has(key)) yield key;
  }

  #app(key: string): AppState {
    const desired = this.#desired.get(key);
    return {
      revision: undefined,
      ...appVersionOf(key),
      desired: desired === undefined ? undefined : desiredOf(key, desired),
      // Whoever keeps the app keeps it as it was.
      instances: new Map(this.mirror.apps.get(key)?.instances),
      ...readOrders(key, this.#orders.get(key) ?? [], this.now),
    };
  }

  /** The desired state is replaced as a whole: a scan that began on one and ended on another is made again. */
  async #readDesired(database: Database): Promise<void> {
    for (let attempt = 0; attempt < attempts; attempt += 1) {
      const before = await generation(database);
      const found = new Map<string, string>();
      for await (const entries of database.hashEntries('desired')) {
        for (const [key, value] of entries) found.set(key, value);
      }
      if ((await generation(database)) !== before) continue;
      this.#desired = found;
      return;
    }
    throw new StoreUnavailableError('the desired state changes faster than it can be read');
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

function generation(database: Database): Promise<string | null> {
  return database.connection.attempt(() => database.connection.commands.get(database.key('desired-fresh')));
}
