import { inspect } from 'node:util';
import { expect } from 'chai';
import { CompiledQuery, sql } from 'kysely';
import { type Database, type DatabaseOptions, openDatabase } from '../../lib/database/database.js';
import { DatabaseUnreachable, GuardFailed, QueryRefused } from '../../lib/database/errors.js';

/** A table of the specs. */
export interface Things {
  things: { name: string; number: number; time: bigint | null; text: string | null; truth: boolean | number };
}

export const makeThings = `CREATE TABLE things (
  name VARCHAR(20) PRIMARY KEY, number INT NOT NULL, time BIGINT, text TEXT, truth BOOL NOT NULL)`;

export function thing(name: string, fields: Partial<Things['things']> = {}): Things['things'] {
  return { name, number: 1, time: null, text: null, truth: true, ...fields };
}

/** What is true of every kind of database. */
export function itIsADatabase(makeOptions: () => Promise<DatabaseOptions>): void {
  let database: Database<Things>;
  let options: DatabaseOptions;

  before(async () => {
    options = await makeOptions();
    database = await openDatabase(options);
    await database.transact([CompiledQuery.raw(makeThings)]);
  });

  beforeEach(() => database.transact([CompiledQuery.raw('DELETE FROM things')]));

  after(() => database.stop());

  const insert = (...rows: Things['things'][]) => database.kysely.insertInto('things').values(rows).compile();
  const names = async () => {
    const rows = await database.kysely.selectFrom('things').select('name').orderBy('name').execute();
    return rows.map(({ name }) => name).join();
  };
  const failure = (work: Promise<unknown>) =>
    work.then(
      () => undefined,
      (error: unknown) => error,
    );

  it('takes and gives integers of 64 bits without loss, and small ones as numbers', async () => {
    const times = [9_223_372_036_854_775_807n, -9_223_372_036_854_775_808n, 1_700_000_000_123_456_789n, 0n, null];
    await database.transact([insert(...times.map((time, index) => thing(`t${index}`, { time, number: index })))]);
    const rows = await database.kysely.selectFrom('things').select(['time', 'number']).orderBy('name').execute();
    expect(rows).to.eql(times.map((time, index) => ({ time, number: index })));
    const count = await database.kysely
      .selectFrom('things')
      .select(({ fn }) => fn.countAll().as('rows'))
      .execute();
    expect(count).to.eql([{ rows: 5n }]);
  });

  it('takes and gives text with quotes, backslashes, NUL-free control characters and emoji', async () => {
    const texts = [
      `'"\\' OR 1=1 --`,
      '\u0001\n\t\\n\\',
      '\u{1f600}\u{1f468}‍\u{1f469}',
      '?$1:name',
      '',
      null,
      'x'.repeat(20_000),
    ];
    await database.transact([insert(...texts.map((text, index) => thing(`t${index}`, { text })))]);
    const rows = await database.kysely.selectFrom('things').select('text').orderBy('name').execute();
    expect(rows.map(({ text }) => text)).to.eql(texts);
  });

  it('tells how many rows each query has affected; an update that changes nothing has affected what it found', async () => {
    const update = database.kysely.updateTable('things').set({ number: 1 }).compile();
    const remove = database.kysely.deleteFrom('things').where('name', '=', 'b').compile();
    expect(await database.transact([insert(thing('a'), thing('b')), update, remove, remove])).to.eql([2, 2, 1, 0]);
    expect(await database.transact([])).to.eql([]);
  });

  it('does all of a transaction or nothing, and tells nothing of its data', async () => {
    const error = await failure(
      database.transact([insert(thing('a')), insert(thing('b')), insert(thing('a', { text: 'a secret' }))]),
    );
    expect(error).to.be.instanceOf(QueryRefused);
    expect(inspect(error, { depth: 9 })).not.to.contain('a secret');
    expect(await names()).to.equal('');
    await database.transact([insert(thing('c'))]);
    expect(await names()).to.equal('c');
  });

  it('does nothing when the guard finds no row', async () => {
    const guard = database.kysely.updateTable('things').set({ number: 1 }).where('name', '=', 'guard').compile();
    expect(await failure(database.transact([insert(thing('a'))], { guard }))).to.be.instanceOf(GuardFailed);
    await database.transact([insert(thing('guard'))]);
    expect(await database.transact([insert(thing('b'))], { guard })).to.eql([1]);
    expect(await names()).to.equal('b,guard');
  });

  it('refuses wrong queries, as selects too', async () => {
    expect(await failure(sql`SELECT nothing FROM nowhere`.execute(database.kysely))).to.be.instanceOf(QueryRefused);
    expect(await failure(database.transact([CompiledQuery.raw('NO SUCH WORD')]))).to.be.instanceOf(QueryRefused);
    expect(await names()).to.equal('');
  });

  it('does a transaction of more than one packet', async () => {
    const rows = Array.from({ length: 200 }, (_, index) => thing(`t${index}`, { text: 'é'.repeat(20_000) }));
    const affected = await database.transact(rows.map((row) => insert(row)));
    expect(affected).to.eql(rows.map(() => 1));
    expect(await database.transact([CompiledQuery.raw('DELETE FROM things')])).to.eql([200]);
  });

  it('ends with a stop, which may be called twice', async () => {
    const another = await openDatabase<Things>(options);
    await Promise.all([another.stop(), another.stop()]);
    expect(await failure(another.transact([]))).to.be.instanceOf(DatabaseUnreachable);
  });
}
