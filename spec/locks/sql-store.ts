import { expect } from 'chai';
import { sql } from 'kysely';
import type { DatabaseOptions } from '../../lib/database/database.js';
import { type Database, openDatabase } from '../../lib/database/database.js';
import { LockCollision } from '../../lib/locks/lock-store.js';
import { SqlLockStore } from '../../lib/locks/sql/sql-store.js';
import type { LockTables } from '../../lib/locks/sql/tables.js';
import { eventually } from '../support/eventually.js';
import { rejectionOf } from '../support/rejection.js';
import { behavesAsLockStore, lock } from './store-contract.js';

/** What the SQL store does in each kind of database. @param where an empty one, the same until it is asked again */
export function behavesAsSqlLockStore(
  emptyDatabase: () => Promise<Pick<DatabaseOptions, 'driver' | 'connectionString'>>,
): void {
  let where: Pick<DatabaseOptions, 'driver' | 'connectionString'>;
  const databases: Database<LockTables>[] = [];
  const stores: SqlLockStore[] = [];

  async function open(): Promise<Database<LockTables>> {
    const database = await openDatabase<LockTables>(where);
    databases.push(database);
    return database;
  }

  async function start(): Promise<SqlLockStore> {
    const store = new SqlLockStore({ database: await open(), sweepIntervalMs: 50 });
    stores.push(store);
    await store.start();
    return store;
  }

  before(async () => {
    where = await emptyDatabase();
  });

  beforeEach(async () => {
    const database = await open();
    for (const table of ['locks', 'lock_tokens', 'locket_health_check']) {
      await sql`DROP TABLE IF EXISTS ${sql.table(table)}`.execute(database.kysely);
    }
  });

  afterEach(async () => {
    await Promise.all(stores.splice(0).map((store) => store.stop()));
    await Promise.all(databases.splice(0).map((database) => database.stop()));
  });

  describe('as every store', () => behavesAsLockStore({ store: start, beside: start }));

  it('keeps what upstream’s Locket reads, and takes over what that has written, with a whole ttl', async () => {
    const { kysely } = await open();
    await sql`CREATE TABLE locks (
      path VARCHAR(255) PRIMARY KEY, owner VARCHAR(255), value VARCHAR(4096), type VARCHAR(255) DEFAULT '',
      modified_index BIGINT DEFAULT 0, modified_id VARCHAR(255) DEFAULT '', ttl BIGINT DEFAULT 0)`.execute(kysely);
    await sql`INSERT INTO locks VALUES ('held', 'upstream', 'v', 'lock', 7, 'id-1', 1)`.execute(kysely);
    await sql`INSERT INTO locks VALUES ('emptied', '', '', 'lock', 7, '', 15)`.execute(kysely);
    await sql`INSERT INTO locks (path) VALUES ('bare')`.execute(kysely);
    const store = await start();
    expect(await store.list('lock')).to.deep.equal([lock('held', 'upstream', 'v')]);
    expect(await rejectionOf(store.acquire(lock('held', 'two'), 60_000))).to.be.instanceOf(LockCollision);
    expect((await store.acquire(lock('held', 'upstream', 'w'), 1500)).index).to.equal(8);
    for (const key of ['emptied', 'bare']) {
      expect((await store.acquire(lock(key, 'two'), 15_000)).index).to.equal(1);
    }
    const columns = sql<object>`SELECT owner, value, type, modified_index, ttl FROM locks WHERE path = 'held'`;
    const { rows } = await columns.execute(kysely);
    expect(rows).to.deep.equal([{ owner: 'upstream', value: 'w', type: 'lock', modified_index: 8n, ttl: 2n }]);
    await eventually(() => store.acquire(lock('held', 'two'), 60_000));
  });

  it('keeps locks and the growth of tokens over a restart', async () => {
    const first = await start();
    const { token } = await first.acquire(lock('a', 'one'), 60_000);
    const { kysely } = databases.at(-1)!;
    await first.stop();
    const future = BigInt(Date.now() + 3_600_000) * 1000n;
    await kysely.updateTable('lock_tokens').set({ token: future }).execute();
    const second = await start();
    expect(await rejectionOf(second.acquire(lock('a', 'two'), 60_000))).to.be.instanceOf(LockCollision);
    expect((await second.acquire(lock('a', 'one'), 60_000)).token).to.equal(token);
    expect((await second.acquire(lock('b', 'one'), 60_000)).token).to.equal(Number(future) + 1);
  });

  it('may be started by many at once', async () => {
    const all = await Promise.all([start(), start(), start()]);
    const { token } = await all[0]!.acquire(lock('a', 'one'), 60_000);
    expect((await all[2]!.acquire(lock('a', 'one'), 60_000)).token).to.equal(token);
  });

  it('says that it cannot tell when the database is away', async () => {
    const store = await start();
    await databases.at(-1)!.stop();
    expect((await rejectionOf(store.acquire(lock('a', 'one'), 60_000))).name).to.equal('LocksUnavailable');
  });
}
