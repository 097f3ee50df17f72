import { type Database, type DatabaseOptions, openDatabase } from '../../database/database.js';
import { HealthCheck, type HealthCheckOptions } from '../../database/health-check.js';
import { errorData, type Logger } from '../../logging/logger.js';
import { checkKeyLabel, isRotationDue } from './encryption/database-key.js';
import { KeyRing, type KeyRingOptions, type Undecodable } from './encryption/key-ring.js';
import { rotateKeys } from './encryption/rotation.js';
import { checkHealth } from './health-row.js';
import { loadRows } from './loading.js';
import { beginReign } from './reign.js';
import { migrate, readVersion } from './schema/migrations.js';
import type { BoardTables, RowTable } from './schema/tables.js';
import { NotWritten, ReignLost, type RowChange, type RowVisitor, type Store } from './store.js';
import { type CreationTimes, type RowWrite, rowWrite } from './writing/row-write.js';
import { Tally } from './writing/tally.js';
import { Writer } from './writing/writer.js';

export interface SqlStoreOptions {
  database: DatabaseOptions;
  keys: KeyRingOptions;
  logger: Logger;
  /** The tables are as they should be; that took so long, ms. */
  onMigrated?: (durationMs: number) => void;
  /** All rows are encrypted with the active key, which they were not before. */
  onEncrypted?: (durationMs: number) => void;
  /** Nanoseconds since 1970. @default the system's clock */
  now?: () => bigint;
}

/** The store on SQLite, MySQL, MariaDB or PostgreSQL, in upstream's schema (docs/protocol/bbs.md §15). */
export class SqlStore implements Store {
  readonly #options: SqlStoreOptions;
  readonly #keys: KeyRing;
  readonly #now: () => bigint;
  readonly #tally = new Tally();
  readonly #times: CreationTimes = new Map();
  /** Rows that cannot be read and have been reported. */
  readonly #reported = new Set<string>();
  readonly #stopping = new AbortController();
  #database: Database<BoardTables> | undefined;
  #writer: Writer | undefined;
  #rotation: Promise<void> | undefined;
  #healthCheck: HealthCheck | undefined;
  #stopped: Promise<void> | undefined;

  /** @throws when the keys cannot be used, naming the key of the configuration */
  static create(options: SqlStoreOptions): SqlStore {
    return new SqlStore(options);
  }

  private constructor(options: SqlStoreOptions) {
    this.#options = options;
    this.#keys = new KeyRing(options.keys);
    this.#now = options.now ?? systemTime;
  }

  async start(): Promise<void> {
    this.#database = await openDatabase<BoardTables>(this.#options.database);
  }

  /** From `start` on, whether or not the database is this board's; `stop` ends it. */
  watchHealth(options: Omit<HealthCheckOptions, 'check' | 'logger'>): void {
    const { logger } = this.#options;
    this.#healthCheck ??= new HealthCheck({
      ...options,
      check: () => checkHealth(this.#opened(), this.#now()),
      logger,
    });
    this.#healthCheck.start();
  }

  async take(): Promise<void> {
    const database = this.#opened();
    // Before anything is changed.
    if ((await readVersion(database)) !== undefined) await checkKeyLabel(database, this.#keys);
    const begun = performance.now();
    await migrate(database, this.#keys, this.#options.logger);
    this.#options.onMigrated?.(performance.now() - begun);
    const isDue = await isRotationDue(database, this.#keys);
    const guard = await beginReign(database);
    const onWritten = (rows: readonly RowWrite[]) => {
      for (const row of rows) this.#tally.written(row);
    };
    this.#writer = new Writer({ database, guard, onWritten });
    if (isDue) this.#rotation = this.#rotate(database, this.#writer);
  }

  async load(visitor: RowVisitor): Promise<void> {
    const database = this.#opened();
    await this.#ruling().exclusively(() =>
      loadRows({
        database,
        keys: this.#keys,
        visitor,
        tally: this.#tally,
        times: this.#times,
        onUnreadable: (table, id, error) => this.#report(table, id, error),
      }),
    );
  }

  async write(changes: readonly RowChange[]): Promise<void> {
    const writer = this.#ruling();
    if (changes.length === 0) return;
    await writer.write(changes.map((change) => rowWrite(change, this.#keys, this.#times, this.#now)));
  }

  async isUntouched(): Promise<boolean> {
    const database = this.#opened();
    const differing = await this.#ruling().exclusively(() => this.#tally.differences(database));
    if (differing.length > 0)
      this.#options.logger.warn('somebody else has changed the database', { tables: differing });
    return differing.length === 0;
  }

  stop(): Promise<void> {
    this.#stopped ??= this.#stop();
    return this.#stopped;
  }

  async #stop(): Promise<void> {
    this.#stopping.abort();
    await this.#writer?.stop();
    await this.#rotation;
    await this.#healthCheck?.stop();
    await this.#database?.stop();
  }

  /** A failure leaves a mixture that every start can read and finish. */
  async #rotate(database: Database<BoardTables>, writer: Writer): Promise<void> {
    const { logger, onEncrypted } = this.#options;
    const { signal } = this.#stopping;
    const begun = performance.now();
    const onUnreadable = (table: RowTable, id: string, error: Undecodable) => this.#report(table, id, error);
    try {
      await rotateKeys({ database, keys: this.#keys, writer, logger, signal, onUnreadable });
      if (!signal.aborted) onEncrypted?.(performance.now() - begun);
    } catch (error) {
      if (signal.aborted || error instanceof ReignLost) return;
      logger.error('encrypting the rows with the active key has failed; the next start goes on', errorData(error));
    }
  }

  #report(table: RowTable, id: string, error: Undecodable): void {
    const name = `${table} ${id}`;
    if (this.#reported.has(name)) return;
    this.#reported.add(name);
    this.#options.logger.error('a row cannot be read; it is left alone', { table, key: id, error: error.message });
  }

  #opened(): Database<BoardTables> {
    if (!this.#database) throw new Error('the store is not started');
    return this.#database;
  }

  #ruling(): Writer {
    if (!this.#writer) throw new NotWritten('the store has not taken the database');
    return this.#writer;
  }
}

function systemTime(): bigint {
  return BigInt(Date.now()) * 1_000_000n;
}
