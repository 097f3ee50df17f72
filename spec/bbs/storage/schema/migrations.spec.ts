import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { CompiledQuery, type Kysely } from 'kysely';
import {
  DesiredLRPRunInfo,
  MetricTagValue,
  ProtoRoutes,
  VolumePlacement,
} from '../../../../lib/bbs/messages/models.js';
import { sealJson, sealMessage } from '../../../../lib/bbs/storage/encryption/envelope.js';
import { KeyRing } from '../../../../lib/bbs/storage/encryption/key-ring.js';
import { desiredLrpOf } from '../../../../lib/bbs/storage/rows/desired-lrps.js';
import { migrate } from '../../../../lib/bbs/storage/schema/migrations.js';
import type { BoardTables } from '../../../../lib/bbs/storage/schema/tables.js';
import { type Database, type DatabaseOptions, openDatabase } from '../../../../lib/database/database.js';
import { silentLogger } from '../../../../lib/logging/logger.js';
import { mariadb } from '../../../support/mariadb.js';
import { postgres } from '../../../support/postgres.js';

const keys = new KeyRing({ activeLabel: 'k', passphrases: { k: 'p' } });

/** Tables as upstream had them at the version of September 2016, when routes had just been encrypted. */
const oldTables = (text: string) => [
  'CREATE TABLE configurations (id VARCHAR(255) PRIMARY KEY, value VARCHAR(255))',
  `INSERT INTO configurations VALUES ('version', '{"CurrentVersion":1474993971,"TargetVersion":1474993971}')`,
  'CREATE TABLE domains (domain VARCHAR(255) PRIMARY KEY, expire_time BIGINT DEFAULT 0)',
  `CREATE TABLE desired_lrps (process_guid VARCHAR(255) PRIMARY KEY, domain VARCHAR(255) NOT NULL,
    log_guid VARCHAR(255) NOT NULL, annotation ${text}, instances INT NOT NULL, memory_mb INT NOT NULL,
    disk_mb INT NOT NULL, rootfs VARCHAR(255) NOT NULL, routes ${text} NOT NULL, volume_placement ${text} NOT NULL,
    modification_tag_epoch VARCHAR(255) NOT NULL, modification_tag_index INT, run_info ${text} NOT NULL,
    placement_tags TEXT)`,
  `CREATE TABLE actual_lrps (process_guid VARCHAR(255), instance_index INT, evacuating BOOL DEFAULT false,
    domain VARCHAR(255) NOT NULL, state VARCHAR(255) NOT NULL, instance_guid VARCHAR(255) NOT NULL DEFAULT '',
    cell_id VARCHAR(255) NOT NULL DEFAULT '', placement_error VARCHAR(1024) NOT NULL DEFAULT '', since BIGINT DEFAULT 0,
    net_info ${text} NOT NULL, modification_tag_epoch VARCHAR(255) NOT NULL, modification_tag_index INT,
    crash_count INT NOT NULL DEFAULT 0, crash_reason VARCHAR(1024) NOT NULL DEFAULT '', expire_time BIGINT DEFAULT 0,
    PRIMARY KEY (process_guid, instance_index, evacuating))`,
  `CREATE TABLE tasks (guid VARCHAR(255) PRIMARY KEY, domain VARCHAR(255) NOT NULL, updated_at BIGINT DEFAULT 0,
    created_at BIGINT DEFAULT 0, first_completed_at BIGINT DEFAULT 0, state INT, cell_id VARCHAR(255) NOT NULL DEFAULT '',
    result ${text}, failed BOOL DEFAULT false, failure_reason VARCHAR(255) NOT NULL DEFAULT '',
    task_definition ${text} NOT NULL)`,
];

/** docs/protocol/bbs.md §15, Migrations */
describe('migrations', () => {
  const open: Database<BoardTables>[] = [];
  let directory: string;
  let count = 0;

  before(async () => {
    directory = await mkdtemp(join(tmpdir(), 'migrations-'));
  });

  after(() => rm(directory, { recursive: true, force: true }));

  afterEach(async () => {
    await Promise.all(open.splice(0).map((database) => database.stop()));
  });

  async function fresh(driver: DatabaseOptions['driver']): Promise<Database<BoardTables>> {
    count += 1;
    const connectionString = {
      sqlite3: async () => join(directory, `${count}.db`),
      mysql: async () => (await mariadb()).createDatabase(),
      postgres: async () => (await postgres()).createDatabase(),
    }[driver];
    const database = await openDatabase<BoardTables>({ driver, connectionString: await connectionString() });
    open.push(database);
    return database;
  }

  const execute = (database: Database<BoardTables>, ...statements: string[]) =>
    database.transact(statements.map((statement) => CompiledQuery.raw(statement)));
  const version = async ({ kysely }: Database<BoardTables>) =>
    (await kysely.selectFrom('configurations').select('value').where('id', '=', 'version').executeTakeFirst())?.value;
  const migrated = (database: Database<BoardTables>) => migrate(database, keys, silentLogger);
  const refusal = (database: Database<BoardTables>) =>
    migrated(database).then(
      () => 'migrated',
      (error) => `${error.name}: ${error.message}`,
    );
  /** `table.column type` of all columns. */
  const columns = async ({ kysely, flavour }: Database<BoardTables>) => {
    const schema = flavour === 'mysql' ? 'DATABASE()' : 'CURRENT_SCHEMA()';
    const { rows } = await (kysely as unknown as Kysely<unknown>).executeQuery<Record<string, string>>(
      CompiledQuery.raw(
        `SELECT table_name AS t, column_name AS c, data_type AS d, is_nullable AS n, character_maximum_length AS l
         FROM information_schema.columns WHERE table_schema = ${schema}`,
      ),
    );
    return rows.map(({ t, c, d, n, l }) => `${t}.${c} ${d}(${l}) ${n}`).sort();
  };

  for (const driver of ['sqlite3', 'mysql', 'postgres'] as const) {
    it(`make the tables of a new database once, on ${driver}`, async () => {
      const database = await fresh(driver);
      await migrated(database);
      expect(await version(database)).to.equal('{"CurrentVersion":1772581987}');
      await execute(database, `INSERT INTO domains (domain) VALUES ('d')`);
      await migrated(database);
      expect(await database.kysely.selectFrom('domains').selectAll().execute()).to.eql([
        { domain: 'd', expire_time: 0n },
      ]);
    });

    it(`refuse a newer database, on ${driver}`, async () => {
      const database = await fresh(driver);
      await migrated(database);
      await execute(database, `UPDATE configurations SET value = '{"CurrentVersion":1999999999}' WHERE id = 'version'`);
      expect(await refusal(database)).to.equal(
        'UnusableDatabase: Existing DB version (1999999999) exceeds bbs version (1772581987)',
      );
    });

    it(`refuse tables with rows and without a version, but go on where a creation was broken off, on ${driver}`, async () => {
      const database = await fresh(driver);
      await migrated(database);
      await execute(database, `DELETE FROM configurations`, `INSERT INTO domains (domain) VALUES ('d')`);
      expect(await refusal(database)).to.match(
        /^UnusableDatabase: the table domains has rows, but the database no version/,
      );
      await execute(database, 'DELETE FROM domains', 'DROP TABLE tasks');
      await migrated(database);
      expect(await version(database)).to.equal('{"CurrentVersion":1772581987}');
      expect(await database.kysely.selectFrom('tasks').selectAll().execute()).to.eql([]);
    });
  }

  it('refuse a database that is too old, and say what to do', async () => {
    const database = await fresh('sqlite3');
    await migrated(database);
    await execute(database, `UPDATE configurations SET value = '{"CurrentVersion":1472757022}' WHERE id = 'version'`);
    expect(await refusal(database)).to.match(
      /the database has version 1472757022; only those from 1474993971 .*start a Go BBS/,
    );
    await execute(database, `UPDATE configurations SET value = 'x' WHERE id = 'version'`);
    expect(await refusal(database)).to.match(/the row "version" does not hold a version/);
  });

  for (const driver of ['mysql', 'postgres'] as const) {
    it(`bring a database of 2016 up to date with all that is in it, on ${driver}`, async () => {
      const database = await fresh(driver);
      await execute(database, ...oldTables(driver === 'mysql' ? 'MEDIUMTEXT' : 'TEXT'));
      const metricTags = new Map([['source_id', MetricTagValue.create({ static: 's' })]]);
      const runInfo = sealMessage(keys, DesiredLRPRunInfo, DesiredLRPRunInfo.create({ metricTags, createdAt: 5n }));
      const common = {
        domain: 'd',
        log_guid: 'l',
        instances: 1,
        memory_mb: 1,
        disk_mb: 1,
        rootfs: 'r',
        routes: sealJson(keys, '{}'),
        volume_placement: sealMessage(keys, VolumePlacement, VolumePlacement.create()),
        modification_tag_epoch: 'e',
        modification_tag_index: 3,
      };
      const kysely = database.kysely as unknown as Kysely<Record<string, Record<string, unknown>>>;
      const lrps = [true, false].map((evacuating) => ({
        process_guid: 'p',
        instance_index: 0,
        evacuating,
        domain: 'd',
        state: evacuating ? 'RUNNING' : 'UNCLAIMED',
        net_info: 'x',
        modification_tag_epoch: 'e',
      }));
      await database.transact([
        kysely
          .insertInto('desired_lrps')
          .values({ ...common, process_guid: 'p', run_info: runInfo })
          .compile(),
        kysely
          .insertInto('desired_lrps')
          .values({ ...common, process_guid: 'q', run_info: '02spoiled' })
          .compile(),
        kysely.insertInto('actual_lrps').values(lrps).compile(),
        kysely.insertInto('tasks').values({ guid: 't', domain: 'd', task_definition: 'x' }).compile(),
      ]);
      // As if the machine had failed between a step and its version.
      await execute(database, 'ALTER TABLE desired_lrps ADD COLUMN max_pids INT NOT NULL DEFAULT 0');

      await migrated(database);

      expect(await version(database)).to.equal('{"CurrentVersion":1772581987}');
      const [good, bad] = await database.kysely
        .selectFrom('desired_lrps')
        .selectAll()
        .orderBy('process_guid')
        .execute();
      const { desired, createdAt } = desiredLrpOf(good!, keys);
      expect(createdAt).to.equal(5n);
      expect(desired).to.deep.include({ metricTags, routes: ProtoRoutes.create(), maxPids: 0, updateStrategy: 0 });
      expect(keys.open(good!.metric_tags!).toString()).to.equal('{"source_id":{"static":"s"}}');
      expect(bad).to.include({ metric_tags: null, run_info: '02spoiled' });
      const actual = await database.kysely.selectFrom('actual_lrps').selectAll().orderBy('presence').execute();
      expect(actual.map(({ presence, routable }) => [presence, Boolean(routable)])).to.eql([
        [0, false],
        [1, true],
      ]);

      const made = await fresh(driver);
      await migrated(made);
      expect(await columns(database)).to.eql(await columns(made));
    });
  }
});
