import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { type Database, openDatabase } from '../../lib/database/database.js';
import { HealthCheck, writeHealthRow } from '../../lib/database/health-check.js';
import { type LockTables, prepareTables } from '../../lib/locks/sql/tables.js';
import { eventually } from '../support/eventually.js';
import { recordingLogger } from '../support/recording-logger.js';

describe('the health check of a database', () => {
  let directory: string;
  let database: Database<LockTables>;

  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), 'locket-'));
    database = await openDatabase<LockTables>({ driver: 'sqlite3', connectionString: join(directory, 'locks.db') });
    await prepareTables(database);
  });

  afterEach(async () => {
    await database.stop();
    await rm(directory, { recursive: true });
  });

  it('writes a row again and again, and tells of the third failure in a row, once', async () => {
    const { logger, lines } = recordingLogger();
    const failures: Error[] = [];
    const onFailure = (error: Error) => failures.push(error);
    const check = new HealthCheck({
      check: () => writeHealthRow(database, 'locket_health_check', BigInt(Date.now())),
      onFailure,
      logger,
      intervalMs: 5,
    });
    const time = async () => (await database.kysely.selectFrom('locket_health_check').selectAll().execute())[0]?.time;
    check.start();
    try {
      const first = await eventually(time);
      await eventually(async () => ((await time())! > first ? true : undefined));
      expect(lines).to.deep.equal([]);
      await database.stop();
      await eventually(() => failures[0]);
    } finally {
      await check.stop();
    }
    expect(failures).to.have.lengthOf(1);
    expect(lines.map(({ message, data }) => [message, data.failures])).to.deep.equal(
      [1, 2, 3].map((failure) => ['the database is not healthy', failure]),
    );
  });
});
