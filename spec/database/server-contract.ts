import { expect } from 'chai';
import { CompiledQuery } from 'kysely';
import { type Database, type DatabaseOptions, openDatabase } from '../../lib/database/database.js';
import { DatabaseFigures } from '../../lib/database/database-figures.js';
import { CommitUnknown, DatabaseUnreachable } from '../../lib/database/errors.js';
import { CommitCutter } from '../support/commit-cutter.js';
import type { DatabaseServer } from '../support/database-server.js';
import { eventually } from '../support/eventually.js';
import { makeThings, type Things, thing } from './database-contract.js';

/** What is true of every database server. */
export function itIsAServer(
  driver: 'mysql' | 'postgres',
  start: () => Promise<DatabaseServer>,
  password: string,
): void {
  const cutters: CommitCutter[] = [];
  const databases: Database<Things>[] = [];
  let server: DatabaseServer;
  let connectionString: string;

  async function opened(more: Partial<DatabaseOptions> = {}): Promise<Database<Things>> {
    const database = await openDatabase<Things>({ driver, connectionString, ...more });
    databases.push(database);
    return database;
  }

  const insert = ({ kysely }: Database<Things>, name: string) =>
    kysely.insertInto('things').values(thing(name)).compile();
  const update = ({ kysely }: Database<Things>, name: string, number: number) =>
    kysely.updateTable('things').set({ number }).where('name', '=', name).compile();
  const count = async ({ kysely }: Database<Things>) =>
    (await kysely.selectFrom('things').select('name').execute()).length;
  const failure = (work: Promise<unknown>) =>
    work.then(
      () => undefined,
      (error: unknown) => error,
    );

  before(async () => {
    server = await start();
  });

  beforeEach(async () => {
    connectionString = await server.createDatabase();
    await (await opened()).transact([CompiledQuery.raw(makeThings)]);
  });

  afterEach(async () => {
    await Promise.all(databases.splice(0).map((database) => database.stop()));
    await Promise.all(cutters.splice(0).map((cutter) => cutter.stop()));
  });

  async function throughCutter(
    more: Partial<DatabaseOptions> = {},
  ): Promise<{ cutter: CommitCutter; database: Database<Things> }> {
    const cutter = new CommitCutter(server.port);
    cutters.push(cutter);
    const port = await cutter.start();
    const database = await opened({
      connectionString: connectionString.replace(String(server.port), String(port)),
      ...more,
    });
    return { cutter, database };
  }

  it('does not know whether it was written when the connection breaks at the commit', async () => {
    const { cutter, database } = await throughCutter();
    cutter.cut('after', 'before');
    expect(await failure(database.transact([insert(database, 'a')]))).to.be.instanceOf(CommitUnknown);
    expect(await count(database)).to.equal(1);
    expect(await failure(database.transact([insert(database, 'b')]))).to.be.instanceOf(CommitUnknown);
    expect(await count(database)).to.equal(1);
    expect(cutter.commits).to.equal(2);
  });

  it('tells of its connections, and of those who wait for one', async () => {
    const figures = new DatabaseFigures();
    const database = await opened({ maxConnections: 2, observer: figures });
    await Promise.all(['a', 'b', 'c', 'd'].map((name) => database.transact([insert(database, name)])));
    expect(figures.openConnections).to.equal(2);
    expect(figures.waitCount).to.equal(2);
    expect(figures.waitedMs).to.be.greaterThan(0);
    await database.transact([insert(database, 'e')]);
    expect(figures.waitCount).to.equal(2);
    expect([figures.queries.started, figures.queries.succeeded]).to.deep.equal([5, 5]);
    await database.stop();
    expect(figures.openConnections).to.equal(0);
  });

  it('goes on with a new connection when the server was away for a moment', async () => {
    const database = databases[0]!;
    await server.kill();
    const written = database.transact([insert(database, 'a')]);
    await server.restart();
    expect(await written).to.eql([1]);
    expect(await count(database)).to.equal(1);
  });

  it('says after three attempts that it cannot be reached, and never the password', async () => {
    const database = databases[0]!;
    await server.kill();
    try {
      const work = [database.transact([]), count(database), opened()];
      for (const error of await Promise.all(work.map(failure))) {
        expect(error).to.be.instanceOf(DatabaseUnreachable);
        expect(JSON.stringify([String(error), error, Object.entries(error as object)])).not.to.contain(password);
      }
    } finally {
      await server.restart();
    }
  });

  it('takes a connection without an answer for lost', async () => {
    const database = await opened({ queryTimeoutMs: 200, connectTimeoutMs: 200 });
    await count(database);
    await server.pause();
    try {
      const work = [count(database), database.transact([insert(database, 'a')])];
      for (const error of await Promise.all(work.map(failure))) expect(error).to.be.instanceOf(DatabaseUnreachable);
    } finally {
      await server.resume();
    }
  });

  it('lets go of a server that hangs', async () => {
    const sockets = () => process.getActiveResourcesInfo().filter((resource) => resource === 'TCPSocketWrap').length;
    const before = sockets();
    const database = await opened();
    await count(database);
    expect(sockets()).to.equal(before + 1);
    await server.pause();
    try {
      await database.stop();
      expect(sockets()).to.equal(before);
    } finally {
      await server.resume();
    }
  });

  it('ends the transaction of a client that has been stopped in its midst, and with it what that holds', async () => {
    const { cutter, database } = await throughCutter({ idleTransactionTimeoutMs: 1000 });
    await database.transact([insert(database, 'a')]);
    cutter.cut('held');
    const stopped = failure(database.transact([update(database, 'a', 2)]));
    await eventually(() => cutter.commits === 2 || undefined);
    const another = databases[0]!;
    expect(await another.transact([update(another, 'a', 3)])).to.eql([1]);
    expect(await stopped).to.be.instanceOf(CommitUnknown);
    expect(await another.kysely.selectFrom('things').select('number').execute()).to.eql([{ number: 3 }]);
  });

  it('gets through when transactions are in each other’s way', async () => {
    const database = databases[0]!;
    await database.transact([insert(database, 'a'), insert(database, 'b')]);
    const there = () => database.transact([update(database, 'a', 2), update(database, 'b', 2)]);
    const back = () => database.transact([update(database, 'b', 3), update(database, 'a', 3)]);
    await Promise.all(Array.from({ length: 6 }, (_, index) => (index % 2 ? there() : back())));
  });
}
