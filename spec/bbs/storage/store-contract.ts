import { expect } from 'chai';
import { CompiledQuery } from 'kysely';
import {
  ActualLRP,
  ActualLRPPresence,
  DesiredLRP,
  ProtoRoutes,
  Task,
  TaskDefinition,
  TaskState,
} from '../../../lib/bbs/messages/models.js';
import type { BoardTables } from '../../../lib/bbs/storage/schema/tables.js';
import { SqlStore } from '../../../lib/bbs/storage/sql-store.js';
import { NotWritten, ReignLost, type RowChange } from '../../../lib/bbs/storage/store.js';
import { type Database, type DatabaseOptions, openDatabase } from '../../../lib/database/database.js';
import { actualLrp, desiredLrp, inserts, RecordedRows, task } from '../../support/board-rows.js';
import { filledMessage } from '../../support/filled-message.js';
import { recordingLogger } from '../../support/recording-logger.js';

export const keys = { activeLabel: 'key-1', passphrases: { 'key-1': 'a passphrase' } };

const tables = ['domains', 'desired_lrps', 'actual_lrps', 'tasks'];

/** What the store has to do on every kind of database. @param makeDatabase makes an empty one */
export function itKeepsTheBoard(makeDatabase: () => Promise<DatabaseOptions>): void {
  let options: DatabaseOptions;
  const open: SqlStore[] = [];
  let store: SqlStore;
  let now = 1_700_000_000_000_000_000n;
  /** The largest index that the column holds. */
  const modificationTag = { epoch: 'e', index: 2 ** 31 - 1 };

  async function opened(): Promise<SqlStore> {
    const opening = SqlStore.create({
      database: options,
      keys,
      logger: recordingLogger().logger,
      now: () => now,
    });
    open.push(opening);
    await opening.start();
    return opening;
  }

  async function taken(): Promise<SqlStore> {
    const another = await opened();
    await another.take();
    await another.load(new RecordedRows());
    return another;
  }

  /** What another board finds. */
  async function reread(): Promise<RecordedRows> {
    const another = await opened();
    await another.take();
    const rows = new RecordedRows();
    await another.load(rows);
    return rows;
  }

  /** Past the store. */
  async function directly<T>(work: (database: Database<BoardTables>) => Promise<T>): Promise<T> {
    const database = await openDatabase<BoardTables>(options);
    try {
      return await work(database);
    } finally {
      await database.stop();
    }
  }

  const execute = (sql: string) => directly((database) => database.transact([CompiledQuery.raw(sql)]));
  const failure = (work: Promise<unknown>) =>
    work.then(
      () => undefined,
      (error: unknown) => error,
    );

  beforeEach(async () => {
    now = 1_700_000_000_000_000_000n;
    if (options)
      await directly((database) => database.transact(tables.map((table) => CompiledQuery.raw(`DELETE FROM ${table}`))));
    options ??= await makeDatabase();
    store = await taken();
  });

  afterEach(async () => {
    await Promise.all(open.splice(0).map((each) => each.stop()));
  });

  describe('reads what was written', () => {
    it('of a desired LRP with every field', async () => {
      const routes = ProtoRoutes.create({
        routes: new Map([
          ['cf-router', Buffer.from('[{"a":1e3}]')],
          ['a', Buffer.from('{}')],
        ]),
      });
      const full = filledMessage(DesiredLRP, { processGuid: 'full', routes, modificationTag });
      await store.write([inserts.desired(full), inserts.desired(desiredLrp('bare', { routes: ProtoRoutes.create() }))]);
      const { desired } = await reread();
      expect(desired.get('full')).to.eql(full);
      expect(desired.get('bare')).to.eql(desiredLrp('bare', { routes: ProtoRoutes.create() }));
    });

    it('of actual LRPs with every field, one for each presence', async () => {
      const { ORDINARY, EVACUATING, SUSPECT } = ActualLRPPresence;
      const rows = [ORDINARY, EVACUATING, SUSPECT].map((presence) =>
        filledMessage(ActualLRP, {
          modificationTag,
          presence,
          state: 'RUNNING',
          actualLrpKey: { processGuid: 'p', index: 0, domain: 'd' },
        }),
      );
      await store.write(rows.map(inserts.actual));
      await store.write([inserts.actual(actualLrp('p', 1))]);
      const { actual } = await reread();
      expect([...actual.values()]).to.have.deep.members([...rows, actualLrp('p', 1)]);
    });

    it('of a task with every field, before it is over and after', async () => {
      const over = filledMessage(Task, { taskGuid: 'over', state: TaskState.Resolving, result: 'x'.repeat(10_000) });
      const pending = task('pending', { taskDefinition: filledMessage(TaskDefinition) });
      await store.write([inserts.task(over), inserts.task(pending)]);
      const { tasks } = await reread();
      expect(tasks.get('over')).to.eql(over);
      expect(tasks.get('pending')).to.eql(pending);
    });

    it('of domains, which may last for ever', async () => {
      await store.write([
        { table: 'domains', domain: 'ever', expiresAt: 9_223_372_036_854_775_807n },
        { table: 'domains', domain: 'once', expiresAt: 1n },
      ]);
      expect([...(await reread()).domains].sort()).to.eql([
        ['ever', 9_223_372_036_854_775_807n],
        ['once', 1n],
      ]);
    });

    it('of more rows than come at once', async () => {
      const rows = Array.from({ length: 1203 }, (_, index) => actualLrp(`p-${index % 7}`, index));
      await store.write(rows.map(inserts.actual));
      expect((await reread()).counts.actual).to.equal(1203);
    });
  });

  describe('changes rows', () => {
    it('updates and deletes those of every table', async () => {
      const [desired, actual, pending] = [
        desiredLrp('p'),
        actualLrp('p'),
        task('t', { taskDefinition: TaskDefinition.create() }),
      ];
      await store.write([
        inserts.desired(desired),
        inserts.actual(actual),
        inserts.task(pending),
        { table: 'domains', domain: 'd', expiresAt: 5n },
      ]);
      const [desired2, actual2] = [
        { ...desired, instances: 3 },
        { ...actual, state: 'CLAIMED' },
      ];
      const running = { ...pending, state: TaskState.Running, cellId: 'c' };
      await store.write([
        { table: 'desired_lrps', before: desired, after: desired2 },
        { table: 'actual_lrps', before: actual, after: actual2 },
        { table: 'tasks', before: pending, after: running },
        { table: 'domains', domain: 'd', expiresAt: 6n },
      ]);
      const updated = await reread();
      expect([...updated.desired.values()]).to.eql([desired2]);
      expect([...updated.actual.values()]).to.eql([actual2]);
      expect([...updated.tasks.values()]).to.eql([running]);
      expect([...updated.domains]).to.eql([['d', 6n]]);
      store = await taken();
      await store.write([
        { table: 'desired_lrps', before: desired2, after: undefined },
        { table: 'actual_lrps', before: actual2, after: undefined },
        { table: 'tasks', before: running, after: undefined },
        { table: 'domains', domain: 'd', expiresAt: undefined },
      ]);
      expect((await reread()).counts).to.eql({ desired: 0, actual: 0, tasks: 0, domains: 0 });
    });

    it('leaves of calls that come together what the last of them says', async () => {
      const row = actualLrp('p');
      const later = (index: number) => ({ ...row, modificationTag: { epoch: 'e', index } });
      await Promise.all([
        store.write([inserts.actual(row)]),
        ...[1, 2, 3].map((index) =>
          store.write([{ table: 'actual_lrps', before: later(index - 1), after: later(index) }]),
        ),
        store.write([inserts.task(task('t'))]),
        store.write([{ table: 'tasks', before: task('t'), after: undefined }]),
      ]);
      const { actual, tasks } = await reread();
      expect(actual.get('p/0/0')?.modificationTag.index).to.equal(3);
      expect(tasks.size).to.equal(0);
      expect(actual.size).to.equal(1);
    });
  });

  it('keeps other writers out once another board has taken the database', async () => {
    await store.write([inserts.actual(actualLrp('mine'))]);
    const successor = await taken();
    expect(await failure(store.write([inserts.actual(actualLrp('late'))]))).to.be.instanceOf(ReignLost);
    expect(await failure(store.write([inserts.actual(actualLrp('later'))]))).to.be.instanceOf(ReignLost);
    await successor.write([inserts.actual(actualLrp('new'))]);
    expect([...(await reread()).actual.keys()]).to.have.members(['mine/0/0', 'new/0/0']);
  });

  it('refuses what the database does not take, and only that', async () => {
    // What is no number fits into no column for numbers, on any database.
    const spoiled = {
      ...actualLrp('spoiled'),
      crashCount: 'many' as unknown as number,
      crashReason: null as unknown as string,
    };
    const calls = ['a', 'b', 'c'].map((guid) => store.write([inserts.actual(actualLrp(guid))]));
    const refused = store.write([inserts.actual(actualLrp('with it')), inserts.actual(spoiled)]);
    const others = ['d', 'e'].map((guid) => store.write([inserts.actual(actualLrp(guid))]));
    expect(await failure(refused)).to.be.instanceOf(NotWritten);
    await Promise.all([...calls, ...others]);
    expect([...(await reread()).actual.keys()]).to.have.members(['a', 'b', 'c', 'd', 'e'].map((guid) => `${guid}/0/0`));
  });

  it('writes before it has taken the database, and after its end, nothing', async () => {
    const another = await opened();
    expect(await failure(another.write([inserts.task(task('t'))]))).to.be.instanceOf(NotWritten);
    const asked = store.write([inserts.task(task('asked'))]);
    await store.stop();
    await asked;
    expect(await failure(store.write([inserts.task(task('late'))]))).to.be.instanceOf(NotWritten);
    expect([...(await reread()).tasks.keys()]).to.eql(['asked']);
  });

  describe('notices that others write', () => {
    const row = actualLrp('p', 0, { state: 'RUNNING' });

    beforeEach(async () => {
      await store.write([
        inserts.desired(desiredLrp('p')),
        inserts.actual(row),
        inserts.task(task('t')),
        { table: 'domains', domain: 'd', expiresAt: 1_700_000_000_000_000_001n },
      ]);
    });

    it('and not when it writes itself', async () => {
      expect(await store.isUntouched()).to.equal(true);
      const crashed = { ...row, state: 'CRASHED', since: row.since + 5n, modificationTag: { epoch: 'e', index: 9 } };
      await store.write([
        { table: 'actual_lrps', before: row, after: crashed },
        { table: 'domains', domain: 'd', expiresAt: 7n },
        { table: 'tasks', before: task('t'), after: undefined },
      ]);
      expect(await store.isUntouched()).to.equal(true);
      store = await taken();
      expect(await store.isUntouched()).to.equal(true);
    });

    for (const [what, statement] of [
      ['a DELETE', `DELETE FROM actual_lrps`],
      ['an INSERT', `INSERT INTO domains (domain, expire_time) VALUES ('x', 0)`],
      ['an UPDATE of a tag', `UPDATE desired_lrps SET modification_tag_index = modification_tag_index + 1`],
      ['an UPDATE of a state', `UPDATE actual_lrps SET state = 'CLAIMED'`],
      ['an UPDATE of a time', `UPDATE tasks SET updated_at = updated_at + 1`],
      ['an UPDATE of an expiry', `UPDATE domains SET expire_time = 9`],
    ] as const) {
      it(`sees ${what}`, async () => {
        await execute(statement);
        expect(await store.isUntouched()).to.equal(false);
      });
    }
  });

  it('reports rows that cannot be read, once, and leaves them alone', async () => {
    await store.write([inserts.actual(actualLrp('good')), inserts.actual(actualLrp('bad')), inserts.task(task('bad'))]);
    await store.stop();
    await execute(`UPDATE actual_lrps SET net_info = '02AAAA' WHERE process_guid = 'bad'`);
    await execute(`UPDATE tasks SET task_definition = 'nonsense'`);
    const { logger, lines } = recordingLogger();
    const another = SqlStore.create({ database: options, keys, logger });
    open.push(another);
    await another.start();
    await another.take();
    const rows = new RecordedRows();
    await another.load(rows);
    await another.load(rows);
    expect(rows.counts).to.eql({ desired: 0, actual: 1, tasks: 0, domains: 0 });
    const reported = lines.filter(({ level }) => level === 'error').map(({ data }) => `${data.table} ${data.key}`);
    expect(reported).to.eql(['actual_lrps bad/0/0', 'tasks bad']);
    expect(await another.isUntouched()).to.equal(true);
    // They go when somebody writes to their places.
    await another.write([
      inserts.task(task('bad')),
      { table: 'actual_lrps', before: actualLrp('bad'), after: undefined } satisfies RowChange,
    ]);
    expect(await another.isUntouched()).to.equal(true);
  });

  it('keeps the time at which an LRP was desired, and gives it to nobody', async () => {
    const { desiredLrpOf } = await import('../../../lib/bbs/storage/rows/desired-lrps.js');
    const { KeyRing } = await import('../../../lib/bbs/storage/encryption/key-ring.js');
    const createdAt = () =>
      directly(async ({ kysely }) => {
        const row = await kysely.selectFrom('desired_lrps').selectAll().executeTakeFirstOrThrow();
        return desiredLrpOf(row, new KeyRing(keys)).createdAt;
      });
    await store.write([inserts.desired(desiredLrp('p'))]);
    now += 5n;
    await store.write([{ table: 'desired_lrps', before: desiredLrp('p'), after: desiredLrp('p', { instances: 2 }) }]);
    expect(await createdAt()).to.equal(1_700_000_000_000_000_000n);
    store = await taken();
    now += 5n;
    await store.write([{ table: 'desired_lrps', before: desiredLrp('p'), after: desiredLrp('p', { instances: 3 }) }]);
    expect(await createdAt()).to.equal(1_700_000_000_000_000_000n);
  });
}
