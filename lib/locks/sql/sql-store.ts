import { randomUUID } from 'node:crypto';
import type { CompiledQuery } from 'kysely';
import type { Database } from '../../database/database.js';
import { errorData, type Logger, silentLogger } from '../../logging/logger.js';
import { ExpiryListeners } from '../expiry-listeners.js';
import {
  type Expiry,
  LockCollision,
  type LockStore,
  LocksUnavailable,
  type Resource,
  type ResourceType,
  resourceTypes,
  type StoreGrant,
} from '../lock-store.js';
import { type LockRow, LockStatements } from './statements.js';
import { type LockTables, prepareTables } from './tables.js';

export interface SqlLockStoreOptions {
  /** Stopped by its owner, after the store. */
  database: Database<LockTables>;
  /** Between two looks for expired keys, in milliseconds. @default 1000 */
  sweepIntervalMs?: number;
  /** @default silent */
  logger?: Logger;
}

/** A key that changes hands between a look and a write is looked at again, so often at most. */
const attempts = 5;

/**
 * Locks in a database that many processes share, by its clock (docs/protocol/edge.md §8), in upstream's table. A look
 * at the row decides; every write says which grant it means, so that it does nothing to another one.
 */
export class SqlLockStore implements LockStore {
  readonly #listeners = new ExpiryListeners();
  readonly #logger: Logger;
  readonly #statements: LockStatements;
  #sweepTimer: NodeJS.Timeout | undefined;
  #sweeping: Promise<void> | undefined;
  #isStopped = false;

  constructor(private readonly options: SqlLockStoreOptions) {
    this.#logger = options.logger ?? silentLogger;
    this.#statements = new LockStatements(options.database);
  }

  /** @throws when the tables cannot be made */
  async start(): Promise<void> {
    await prepareTables(this.options.database);
    this.#sweepTimer = setInterval(() => this.#sweepOnce(), this.options.sweepIntervalMs ?? 1000);
  }

  async stop(): Promise<void> {
    this.#isStopped = true;
    clearInterval(this.#sweepTimer);
    await this.#sweeping;
  }

  acquire(resource: Resource, ttlMs: number): Promise<StoreGrant> {
    const { key, owner } = resource;
    const wholeMs = Math.max(1, Math.ceil(ttlMs));
    return this.#untilDecided(key, async (row) => {
      if (row && row.owner !== owner) throw new LockCollision(key, row.owner);
      return row ? this.#renew(row, resource, wholeMs) : this.#grant(resource, wholeMs);
    });
  }

  async release(key: string, owner: string): Promise<void> {
    await this.#untilDecided(key, async (row) => {
      if (row && row.owner !== owner) throw new LockCollision(key, row.owner);
      if (row) await this.#affect(this.#statements.release(key, row.modified_id));
      // One that is not there any more has ended by itself.
      return true;
    });
  }

  fetch(key: string): Promise<Resource | undefined> {
    return this.#attempt(async () => {
      const row = await this.#find(key);
      // As asked for: the database may take other letters for the same.
      return row && resourceOf({ ...row, path: key });
    });
  }

  list(type: ResourceType): Promise<Resource[]> {
    return this.#attempt(async () => {
      const rows = await this.#select(this.#statements.list(type));
      return rows.map(resourceOf).filter((resource) => resource !== undefined);
    });
  }

  count(type: ResourceType): Promise<number> {
    return this.#attempt(async () => {
      const [row] = await this.#select(this.#statements.count(type));
      return Number(row?.number ?? 0);
    });
  }

  onExpired(listener: (expiry: Expiry) => void): () => void {
    return this.#listeners.add(listener);
  }

  async #renew(row: LockRow, resource: Resource, ttlMs: number): Promise<StoreGrant | undefined> {
    const affected = await this.#affect(this.#statements.renew(resource, ttlMs, row.modified_id));
    if (affected === 0) return undefined;
    return { token: Number(row.token), index: Number(row.modified_index) + 1 };
  }

  async #grant(resource: Resource, ttlMs: number): Promise<StoreGrant | undefined> {
    const id = randomUUID();
    const expired = await this.#findAny(resource.key);
    const [, taken] = await this.#transact(this.#statements.grant(resource, ttlMs, id));
    if (taken === 1 && expired) this.#tell(expired);
    const row = await this.#findAny(resource.key);
    return row?.modified_id === id ? { token: Number(row.token), index: 1 } : undefined;
  }

  /** Looks at a key and acts, until nobody comes between. */
  #untilDecided<Result>(key: string, act: (row: LockRow | undefined) => Promise<Result | undefined>): Promise<Result> {
    return this.#attempt(async () => {
      for (let count = 0; count < attempts; count += 1) {
        const result = await act(await this.#find(key));
        if (result !== undefined) return result;
      }
      throw new LocksUnavailable(`${key} changes hands too fast`);
    });
  }

  /** A row whose time is over, or that an old release has emptied, is none. */
  async #find(key: string): Promise<LockRow | undefined> {
    const row = await this.#findAny(key);
    return row && Number(row.is_live) === 1 && row.owner !== '' ? row : undefined;
  }

  async #findAny(key: string): Promise<LockRow | undefined> {
    const [row] = await this.#select(this.#statements.find(key));
    return row;
  }

  #sweepOnce(): void {
    this.#sweeping ??= this.#sweep().finally(() => {
      this.#sweeping = undefined;
    });
  }

  async #sweep(): Promise<void> {
    try {
      for (const row of await this.#select(this.#statements.expired())) {
        if (this.#isStopped) return;
        if ((await this.#affect(this.#statements.remove(row))) === 1) this.#tell(row);
      }
    } catch (error) {
      if (!this.#isStopped) this.#logger.warn('locks.sql.sweep-failed', errorData(error));
    }
  }

  #tell({ path: key, type, owner }: Pick<LockRow, 'path' | 'type' | 'owner'>): void {
    if (isResourceType(type) && owner !== '') this.#listeners.tell({ key, type });
  }

  async #select<Row>(query: CompiledQuery<Row>): Promise<Row[]> {
    return (await this.options.database.kysely.executeQuery(query)).rows;
  }

  async #affect(query: CompiledQuery): Promise<number> {
    const [affected = 0] = await this.#transact([query]);
    return affected;
  }

  #transact(queries: readonly CompiledQuery[]): Promise<number[]> {
    return this.options.database.transact(queries);
  }

  async #attempt<Result>(work: () => Promise<Result>): Promise<Result> {
    try {
      return await work();
    } catch (error) {
      if (error instanceof LockCollision || error instanceof LocksUnavailable) throw error;
      throw new LocksUnavailable(`database: ${(error as Error).message}`, { cause: error });
    }
  }
}

function resourceOf({ path: key, owner, value, type }: LockRow): Resource | undefined {
  return isResourceType(type) ? { key, owner, value, type } : undefined;
}

function isResourceType(type: string): type is ResourceType {
  return resourceTypes.some((known) => known === type);
}
