import { mkdirSync } from 'node:fs';
import { dirname } from 'node:path';
import Database from 'better-sqlite3';

/** An open database file. */
export type MiniCcDatabase = Database.Database;

/** The file was written by a newer program. */
export class NewerSchemaError extends Error {}

/** Each entry leads from its index to the next schema version; entries are never changed once released. */
const migrations = [
  `CREATE TABLE apps (
     id INTEGER PRIMARY KEY AUTOINCREMENT,
     guid TEXT NOT NULL UNIQUE,
     name TEXT NOT NULL UNIQUE,
     version TEXT NOT NULL,
     state TEXT NOT NULL CHECK (state IN ('STARTED', 'STOPPED')),
     package_state TEXT NOT NULL CHECK (package_state IN ('PENDING', 'STAGED', 'FAILED')),
     instances INTEGER NOT NULL,
     memory INTEGER NOT NULL,
     disk_quota INTEGER NOT NULL,
     file_descriptors INTEGER NOT NULL,
     stack TEXT NOT NULL,
     buildpack TEXT,
     command TEXT,
     env TEXT NOT NULL,
     routes TEXT NOT NULL,
     services TEXT NOT NULL,
     diego INTEGER NOT NULL,
     health_check_type TEXT NOT NULL,
     health_check_timeout INTEGER,
     package_hash TEXT,
     droplet_hash TEXT,
     staging_task_id TEXT,
     staging_failed_reason TEXT,
     staging_failed_description TEXT,
     detected_buildpack TEXT,
     detected_start_command TEXT,
     execution_metadata TEXT,
     package_pending_since TEXT,
     created_at TEXT NOT NULL,
     updated_at TEXT NOT NULL
   );
   CREATE TABLE buildpacks (
     guid TEXT PRIMARY KEY,
     name TEXT NOT NULL UNIQUE,
     position INTEGER NOT NULL,
     enabled INTEGER NOT NULL,
     sha1 TEXT,
     filename TEXT,
     created_at TEXT NOT NULL,
     updated_at TEXT NOT NULL
   );
   CREATE TABLE droplets (
     id INTEGER PRIMARY KEY AUTOINCREMENT,
     app_guid TEXT NOT NULL,
     sha1 TEXT NOT NULL
   );
   CREATE INDEX droplets_by_app ON droplets (app_guid);
   CREATE TABLE events (
     id INTEGER PRIMARY KEY AUTOINCREMENT,
     app_guid TEXT NOT NULL,
     type TEXT NOT NULL,
     timestamp TEXT NOT NULL,
     metadata TEXT NOT NULL
   );
   CREATE INDEX events_by_app ON events (app_guid);
   CREATE TABLE jobs (
     guid TEXT PRIMARY KEY,
     status TEXT NOT NULL CHECK (status IN ('queued', 'running', 'finished', 'failed')),
     error TEXT,
     created_at TEXT NOT NULL
   );`,
  `CREATE TABLE hand_overs (
     app_guid TEXT PRIMARY KEY,
     target TEXT NOT NULL CHECK (target IN ('dea', 'diego')),
     version TEXT NOT NULL,
     begun_at TEXT NOT NULL
   );`,
  `CREATE TABLE tasks (
     id INTEGER PRIMARY KEY AUTOINCREMENT,
     guid TEXT NOT NULL UNIQUE,
     app_guid TEXT NOT NULL,
     sequence_id INTEGER NOT NULL,
     name TEXT NOT NULL,
     command TEXT NOT NULL,
     state TEXT NOT NULL CHECK (state IN ('PENDING', 'RUNNING', 'CANCELING', 'SUCCEEDED', 'FAILED')),
     memory_in_mb INTEGER NOT NULL,
     disk_in_mb INTEGER NOT NULL,
     environment_variables TEXT NOT NULL,
     failure_reason TEXT,
     created_at TEXT NOT NULL,
     updated_at TEXT NOT NULL
   );
   CREATE INDEX tasks_by_app ON tasks (app_guid);`,
];

/**
 * Opens the database and brings it to the current schema. What a statement has written is on the disk when it
 * returns (write-ahead log, full synchronisation), so that an accepted change survives `kill -9` and power cuts.
 *
 * @throws NewerSchemaError when a newer program wrote the file
 */
export function openDatabase(path: string): MiniCcDatabase {
  mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
  const database = new Database(path);
  try {
    database.pragma('journal_mode = WAL');
    database.pragma('synchronous = FULL');
    migrate(database, path);
    return database;
  } catch (error) {
    database.close();
    throw error;
  }
}

function migrate(database: MiniCcDatabase, path: string): void {
  const version = Number(database.pragma('user_version', { simple: true }));
  if (version > migrations.length) {
    throw new NewerSchemaError(`${path} has schema version ${version}; this program knows ${migrations.length}`);
  }
  database.transaction(() => {
    for (const migration of migrations.slice(version)) database.exec(migration);
    database.pragma(`user_version = ${migrations.length}`);
  })();
}
