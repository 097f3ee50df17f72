import { type Kysely, type RawBuilder, sql } from 'kysely';
import type { Database, Flavour } from '../../database/database.js';
import { QueryRefused } from '../../database/errors.js';

/** Upstream's table (docs/protocol/edge.md §6.2) with two columns of ours, and one of ours beside it. */
export interface LockTables {
  locks: {
    path: string;
    owner: string | null;
    value: string | null;
    type: string | null;
    modified_index: bigint | null;
    modified_id: string | null;
    /** Seconds. */
    ttl: bigint | null;
    /** By the database's clock; null in rows that an upstream Locket has written. */
    expires_at_ms: bigint | null;
    token: bigint | null;
  };
  /** One row, id 1: the last fencing token of all keys. */
  lock_tokens: { id: number; token: bigint };
  locket_health_check: { id: number; time: bigint };
}

type OwnColumn = 'expires_at_ms' | 'token';

/** The present time of the database's own clock, in milliseconds, when the expression is computed. */
export function databaseNow(flavour: Flavour): RawBuilder<bigint> {
  switch (flavour) {
    case 'sqlite3':
      return sql`CAST(ROUND(unixepoch('subsec') * 1000) AS INTEGER)`;
    case 'mysql':
      // UNIX_TIMESTAMP of a time would be ambiguous when summer ends.
      return sql`(UNIX_TIMESTAMP() * 1000 + MICROSECOND(NOW(6)) DIV 1000)`;
    case 'postgres':
      return sql`CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000 AS BIGINT)`;
  }
}

/** Makes what is missing of the tables, and takes over rows of an upstream Locket: they get a whole ttl once more. */
export async function prepareTables({ kysely, flavour }: Database<LockTables>): Promise<void> {
  const run = async (query: RawBuilder<unknown>) => {
    try {
      await query.execute(kysely);
    } catch (error) {
      // Another process makes the same: when it is done, there is nothing to do.
      if (!(error instanceof QueryRefused)) throw error;
      await query.execute(kysely);
    }
  };
  // Keys and owners are told apart by each letter; upstream leaves that to the server.
  const options = sql.raw(flavour === 'mysql' ? 'DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin' : '');
  const serial = sql.raw({ sqlite3: 'INTEGER', mysql: 'INT NOT NULL AUTO_INCREMENT', postgres: 'SERIAL' }[flavour]);
  await run(sql`CREATE TABLE IF NOT EXISTS locks (
    path VARCHAR(255) PRIMARY KEY,
    owner VARCHAR(255),
    value VARCHAR(4096),
    type VARCHAR(255) DEFAULT '',
    modified_index BIGINT DEFAULT 0,
    modified_id VARCHAR(255) DEFAULT '',
    ttl BIGINT DEFAULT 0
  ) ${options}`);
  await run(sql`CREATE TABLE IF NOT EXISTS locket_health_check (id ${serial} PRIMARY KEY, time BIGINT NOT NULL)`);
  await run(sql`CREATE TABLE IF NOT EXISTS lock_tokens (id INT PRIMARY KEY, token BIGINT NOT NULL)`);
  const ignore = sql.raw(flavour === 'mysql' ? 'ON DUPLICATE KEY UPDATE id = id' : 'ON CONFLICT DO NOTHING');
  await run(sql`INSERT INTO lock_tokens (id, token) VALUES (1, 0) ${ignore}`);
  for (const column of ['expires_at_ms', 'token'] as const) {
    if (!(await hasColumn(kysely, column))) await addColumn(kysely, column);
  }
  const now = databaseNow(flavour);
  await run(
    sql`UPDATE locks SET expires_at_ms = ${now} + ttl * 1000, token = ${now} * 1000 WHERE expires_at_ms IS NULL`,
  );
}

async function addColumn(kysely: Kysely<LockTables>, column: OwnColumn): Promise<void> {
  try {
    await sql`ALTER TABLE locks ADD COLUMN ${sql.ref(column)} BIGINT`.execute(kysely);
  } catch (error) {
    // Another process was faster.
    if (!(await hasColumn(kysely, column))) throw error;
  }
}

async function hasColumn(kysely: Kysely<LockTables>, column: OwnColumn): Promise<boolean> {
  try {
    await kysely.selectFrom('locks').select(column).limit(0).execute();
    return true;
  } catch (error) {
    if (error instanceof QueryRefused) return false;
    throw error;
  }
}
