import { CompiledQuery } from 'kysely';
import { type Database, type DatabaseOptions, type Flavour, openDatabase } from '../../database/database.js';
import { checkKeyLabel, checkKeys } from './encryption/database-key.js';
import type { KeyRing } from './encryption/key-ring.js';
import { readVersion } from './schema/migrations.js';
import { currentVersion } from './schema/steps.js';
import type { BoardTables } from './schema/tables.js';

/** What a database is like, as long as nobody changes it. */
export interface DatabaseState {
  /** Of the server or the library: `10.11.6-MariaDB`. */
  serverVersion: string;
  /** Of the tables; undefined: there are none. */
  version: number | undefined;
  /** The tables are of another version: the next start migrates them. */
  isOld: boolean;
  /** Of the key that rows are encrypted with; undefined where nobody has written it down. */
  keyLabel: string | undefined;
}

const versionQueries: Record<Flavour, string> = {
  sqlite3: 'SELECT sqlite_version() AS version',
  mysql: 'SELECT VERSION() AS version',
  postgres: "SELECT current_setting('server_version') AS version",
};

/**
 * Whether a board could take the database, without changing anything in it. A SQLite file that is not there is made.
 *
 * @throws DatabaseUnreachable, InvalidConnectionString
 * @throws UnusableDatabase when its version or its encryption key is not one that this board knows
 */
export async function examineDatabase(options: DatabaseOptions, keys: KeyRing): Promise<DatabaseState> {
  const database = await openDatabase<BoardTables>(options);
  try {
    const serverVersion = await readServerVersion(database);
    const version = await readVersion(database);
    const isOld = version !== undefined && version !== currentVersion;
    return { serverVersion, version, isOld, keyLabel: await readKeyLabel(database, keys, version) };
  } finally {
    await database.stop();
  }
}

async function readServerVersion({ flavour, kysely }: Database<BoardTables>): Promise<string> {
  const { rows } = await kysely.executeQuery<{ version: string }>(CompiledQuery.raw(versionQueries[flavour]));
  return rows[0]!.version;
}

/** Rows of older tables are not read: their columns may be others. */
async function readKeyLabel(
  database: Database<BoardTables>,
  keys: KeyRing,
  version: number | undefined,
): Promise<string | undefined> {
  if (version === undefined) return undefined;
  if (version !== currentVersion) return checkKeyLabel(database, keys);
  return (await checkKeys(database, keys)).label;
}
