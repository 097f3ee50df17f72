import { expect } from 'chai';
import { CompiledQuery } from 'kysely';
import { checkHealth } from '../../../lib/bbs/storage/health-row.js';
import type { BoardTables } from '../../../lib/bbs/storage/schema/tables.js';
import { type Database, openDatabase } from '../../../lib/database/database.js';
import { HealthCheck } from '../../../lib/database/health-check.js';
import type { DatabaseServer } from '../../support/database-server.js';
import { eventually } from '../../support/eventually.js';
import { postgres } from '../../support/postgres.js';
import { recordingLogger } from '../../support/recording-logger.js';

/** docs/protocol/bbs.md §16 */
describe('the health check of the board', () => {
  let server: DatabaseServer;
  let database: Database<BoardTables>;
  let check: HealthCheck;
  let failures: Error[];
  let now = 0n;

  beforeEach(async () => {
    server = await postgres();
    const connectionString = await server.createDatabase();
    database = await openDatabase({ driver: 'postgres', connectionString });
    failures = [];
    check = new HealthCheck({
      check: () => {
        now += 1n;
        return checkHealth(database, now);
      },
      logger: recordingLogger().logger,
      onFailure: (error) => failures.push(error),
      intervalMs: 1,
      timeoutMs: 100,
      failureThreshold: 2,
    });
  });

  afterEach(async () => {
    await check.stop();
    await database.stop();
  });

  const time = async () => (await database.kysely.selectFrom('bbs_health_check').selectAll().execute())[0]?.time ?? 0n;

  it('writes the time into its row, again and again', async () => {
    await database.transact([
      CompiledQuery.raw('CREATE TABLE bbs_health_check (id SERIAL PRIMARY KEY, time BIGINT NOT NULL)'),
    ]);
    check.start();
    await eventually(async () => (await time()) > 3n || undefined);
    expect(await database.kysely.selectFrom('bbs_health_check').select('id').execute()).to.eql([{ id: 1 }]);
    expect(failures).to.eql([]);
  });

  it('is content with an answer while the tables are not made', async () => {
    const begin = now;
    check.start();
    await eventually(() => now > begin + 4n || undefined);
    expect(failures).to.eql([]);
  });

  it('tells once that the database has not answered so many times', async () => {
    await server.pause();
    try {
      check.start();
      await eventually(() => failures.length > 0 || undefined);
      await check.stop();
      expect(failures.map(({ message }) => message)).to.eql(['no answer within 100 ms']);
    } finally {
      await server.resume();
    }
  });
});
