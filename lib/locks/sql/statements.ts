import { type CompiledQuery, type RawBuilder, sql } from 'kysely';
import type { Database } from '../../database/database.js';
import type { Resource, ResourceType } from '../lock-store.js';
import { databaseNow, type LockTables } from './tables.js';

/** A key as it stands in the table. */
export interface LockRow {
  path: string;
  owner: string;
  value: string;
  type: string;
  modified_index: bigint;
  modified_id: string;
  token: bigint;
  /** 1: its time is not over, or nobody has given it one. */
  is_live: bigint | number;
}

/** What expired and is still there. */
export type ExpiredRow = Pick<LockRow, 'path' | 'type' | 'modified_id' | 'owner'>;

/** How many expired rows are looked at together. */
const sweptAtOnce = 500;

const storedOwner = sql`COALESCE(owner, '')`;
const storedId = sql`COALESCE(modified_id, '')`;
/** By its length: to some databases a space equals nothing. */
const isOwned = sql`(LENGTH(${storedOwner}) > 0)`;

/**
 * The statements of the store. Times are set and compared by the database, so that no clock of a process matters
 * (docs/protocol/edge.md §8).
 */
export class LockStatements {
  readonly #kysely: Database<LockTables>['kysely'];
  readonly #flavour: Database<LockTables>['flavour'];
  readonly #now: RawBuilder<bigint>;

  constructor({ kysely, flavour }: Database<LockTables>) {
    this.#kysely = kysely;
    this.#flavour = flavour;
    this.#now = databaseNow(flavour);
  }

  find(key: string): CompiledQuery<LockRow> {
    return this.#compile<LockRow>(sql`SELECT ${this.#columns} FROM locks WHERE path = ${key}`);
  }

  list(type: ResourceType): CompiledQuery<LockRow> {
    return this.#compile<LockRow>(
      sql`SELECT ${this.#columns} FROM locks WHERE type = ${type} AND ${isOwned} AND ${this.#isLive}`,
    );
  }

  count(type: ResourceType): CompiledQuery<{ number: bigint }> {
    return this.#compile<{ number: bigint }>(
      sql`SELECT COUNT(*) AS number FROM locks WHERE type = ${type} AND ${isOwned} AND ${this.#isLive}`,
    );
  }

  /** @param id of the grant that is renewed; another one is left alone */
  renew({ key, value, type }: Resource, ttlMs: number, id: string): CompiledQuery {
    return this.#compile(sql`UPDATE locks SET value = ${value}, type = ${type}, ttl = ${seconds(ttlMs)},
      modified_index = modified_index + 1, expires_at_ms = ${this.#now} + ${ttlMs}
      WHERE path = ${key} AND ${storedId} = ${id} AND ${this.#isLive}`);
  }

  /**
   * Grants a key that nobody has, in one transaction: the next token, the row of one that has expired, or a new row.
   * The first holds the row of tokens, so that grants come one behind the other.
   *
   * @param id of the grant; whose stands in the row afterwards has the key
   */
  grant(
    { key, owner, value, type }: Resource,
    ttlMs: number,
    id: string,
  ): [CompiledQuery, CompiledQuery, CompiledQuery] {
    const nowUs = sql`${this.#now} * 1000`;
    const token = sql`(SELECT token FROM lock_tokens WHERE id = 1)`;
    const ttl = seconds(ttlMs);
    return [
      this.#compile(sql`UPDATE lock_tokens
        SET token = CASE WHEN token >= ${nowUs} THEN token + 1 ELSE ${nowUs} END WHERE id = 1`),
      this.#compile(sql`UPDATE locks SET owner = ${owner}, value = ${value}, type = ${type}, ttl = ${ttl},
        modified_index = 1, modified_id = ${id}, expires_at_ms = ${this.#now} + ${ttlMs}, token = ${token}
        WHERE path = ${key} AND (NOT ${isOwned} OR expires_at_ms <= ${this.#now})`),
      this.#compile(sql`INSERT INTO locks
        (path, owner, value, type, modified_index, modified_id, ttl, expires_at_ms, token)
        VALUES (${key}, ${owner}, ${value}, ${type}, 1, ${id}, ${ttl}, ${this.#now} + ${ttlMs}, ${token})
        ${sql.raw(this.#flavour === 'mysql' ? 'ON DUPLICATE KEY UPDATE path = path' : 'ON CONFLICT DO NOTHING')}`),
    ];
  }

  release(key: string, id: string): CompiledQuery {
    return this.#compile(sql`DELETE FROM locks WHERE path = ${key} AND ${storedId} = ${id}`);
  }

  expired(): CompiledQuery<ExpiredRow> {
    return this.#compile<ExpiredRow>(sql`SELECT path, COALESCE(type, '') AS type, ${storedId} AS modified_id,
      ${storedOwner} AS owner FROM locks WHERE expires_at_ms <= ${this.#now} LIMIT ${sql.lit(sweptAtOnce)}`);
  }

  /** Takes one out that has expired and was not renewed or granted anew meanwhile. */
  remove({ path, modified_id: id }: ExpiredRow): CompiledQuery {
    return this.#compile(
      sql`DELETE FROM locks WHERE path = ${path} AND ${storedId} = ${id} AND expires_at_ms <= ${this.#now}`,
    );
  }

  get #columns(): RawBuilder<unknown> {
    return sql`path, ${storedOwner} AS owner, COALESCE(value, '') AS value, COALESCE(type, '') AS type,
      COALESCE(modified_index, 0) AS modified_index, ${storedId} AS modified_id, COALESCE(token, 0) AS token,
      CASE WHEN ${this.#isLive} THEN 1 ELSE 0 END AS is_live`;
  }

  /** An upstream Locket beside this one writes rows without a time. */
  get #isLive(): RawBuilder<unknown> {
    return sql`(expires_at_ms IS NULL OR expires_at_ms > ${this.#now})`;
  }

  #compile<Row = unknown>(query: RawBuilder<unknown>): CompiledQuery<Row> {
    return query.compile(this.#kysely) as CompiledQuery<Row>;
  }
}

/** As upstream counts; the exact time stands in a column of its own. */
function seconds(ttlMs: number): number {
  return Math.ceil(ttlMs / 1000);
}
