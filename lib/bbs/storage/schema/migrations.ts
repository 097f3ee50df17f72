import { CompiledQuery } from 'kysely';
import type { Database } from '../../../database/database.js';
import { QueryRefused } from '../../../database/errors.js';
import type { Logger } from '../../../logging/logger.js';
import type { KeyRing } from '../encryption/key-ring.js';
import { readConfiguration, writeConfiguration } from './configurations.js';
import { configurationsStatement, creationStatements } from './creation.js';
import { moveMetricTags } from './metric-tags-move.js';
import { currentVersion, oldestVersion, type Step, steps } from './steps.js';
import { type BoardTables, rowTables } from './tables.js';

/** A database that this program must not touch. */
export class UnusableDatabase extends Error {
  override readonly name = 'UnusableDatabase';
}

/** A change of a large table takes its time. */
const timeoutMs = 60 * 60_000;
/** Of a column that is there already: a step was broken off between its statement and its version. */
const duplicateColumnCodes = new Set(['ER_DUP_FIELDNAME', '42701']);

/**
 * Version of the database's tables, undefined where there are none.
 *
 * @throws UnusableDatabase when it is newer than this program, or older than it can migrate
 */
export async function readVersion(database: Database<BoardTables>): Promise<number | undefined> {
  if (!(await existingTables(database)).has('configurations')) return undefined;
  const text = await readConfiguration(database, 'version');
  if (text === undefined) return undefined;
  const version = parseVersion(text);
  if (version > currentVersion) {
    throw new UnusableDatabase(`Existing DB version (${version}) exceeds bbs version (${currentVersion})`);
  }
  if (version < oldestVersion) {
    throw new UnusableDatabase(
      `the database has version ${version}; only those from ${oldestVersion} on can be migrated: ` +
        'start a Go BBS of 2017 to 2026 on it once, then this one',
    );
  }
  return version;
}

/**
 * Makes the tables, or brings them up to date, step by step. What was broken off is continued.
 *
 * @throws UnusableDatabase
 */
export async function migrate(database: Database<BoardTables>, keys: KeyRing, logger: Logger): Promise<void> {
  const version = await readVersion(database);
  if (version === undefined) {
    await create(database, logger);
    return;
  }
  for (const step of steps.filter((step) => step.version > version)) {
    logger.info('migrating the database', { from: version, to: step.version });
    await take(step, database, keys, logger);
  }
}

/** A database of this program's own kind is never older than its first version. */
async function take(step: Step, database: Database<BoardTables>, keys: KeyRing, logger: Logger): Promise<void> {
  if (database.flavour === 'sqlite3') throw new UnusableDatabase(`a SQLite database never had version ${step.version}`);
  for (const statement of step.statements(database.flavour)) await change(database, statement);
  if (step.movesMetricTags) await moveMetricTags(database, keys, logger);
  await writeVersion(database, step.version);
}

async function change(database: Database<BoardTables>, statement: string): Promise<void> {
  try {
    await database.transact([CompiledQuery.raw(statement)], { timeoutMs });
  } catch (error) {
    if (!(error instanceof QueryRefused) || !duplicateColumnCodes.has(error.code)) throw error;
  }
}

async function create(database: Database<BoardTables>, logger: Logger): Promise<void> {
  const existing = await existingTables(database);
  const ours = rowTables.filter((table) => existing.has(table));
  for (const table of ours) {
    const row = await database.kysely
      .selectFrom(table)
      .select(({ lit }) => lit(1).as('one'))
      .limit(1)
      .executeTakeFirst();
    if (!row) continue;
    throw new UnusableDatabase(
      `the table ${table} has rows, but the database no version (row "version" in the table "configurations"): ` +
        'put that row back, or empty the table',
    );
  }
  logger.info('making the tables of the database', { version: currentVersion });
  const statements = [
    configurationsStatement,
    // Left by a creation that was broken off, where tables are made outside of transactions.
    ...ours.map((table) => `DROP TABLE ${table}`),
    ...creationStatements(database.flavour),
  ];
  await database.transact(
    statements.map((statement) => CompiledQuery.raw(statement)),
    { timeoutMs },
  );
  await writeVersion(database, currentVersion);
}

/** A row `{"CurrentVersion":1772581987}`; that of older boards has a `TargetVersion`, too. */
function parseVersion(text: string): number {
  const version = /^\s*\{.*"CurrentVersion"\s*:\s*(\d+)/.exec(text)?.[1];
  if (version === undefined) throw new UnusableDatabase('configurations: the row "version" does not hold a version');
  return Number(version);
}

function writeVersion(database: Database<BoardTables>, version: number): Promise<void> {
  return writeConfiguration(database, 'version', `{"CurrentVersion":${version}}`);
}

async function existingTables(database: Database<BoardTables>): Promise<Set<string>> {
  const query = {
    sqlite3: `SELECT name FROM sqlite_master WHERE type = 'table'`,
    mysql: 'SELECT table_name AS name FROM information_schema.tables WHERE table_schema = DATABASE()',
    postgres: 'SELECT tablename::text AS name FROM pg_catalog.pg_tables WHERE schemaname = CURRENT_SCHEMA()',
  }[database.flavour];
  const { rows } = await database.kysely.executeQuery<{ name: string }>(CompiledQuery.raw(query));
  return new Set(rows.map(({ name }) => name));
}
