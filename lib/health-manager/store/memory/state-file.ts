import { mkdirSync } from 'node:fs';
import { dirname } from 'node:path';
import Database, { type Statement } from 'better-sqlite3';
import type { PendingStart, PendingStop } from '../../records.js';
import type { AppCrashCount, SendResult } from '../health-store.js';

export interface KeptCrashCount extends AppCrashCount {
  /** Unix seconds. */
  expiresAt: number;
}

export interface KeptOrders {
  crashCounts: KeptCrashCount[];
  starts: PendingStart[];
  stops: PendingStop[];
}

/** A row per crash count or order: a key, the app that it belongs to, and itself as JSON. */
const schema = `
  CREATE TABLE IF NOT EXISTS crash_counts (
    app TEXT NOT NULL, version TEXT NOT NULL, instance_index INTEGER NOT NULL, expires_at INTEGER NOT NULL,
    content TEXT NOT NULL, PRIMARY KEY (app, version, instance_index)
  ) WITHOUT ROWID;
  CREATE TABLE IF NOT EXISTS starts (
    app TEXT NOT NULL, version TEXT NOT NULL, instance_index INTEGER NOT NULL, content TEXT NOT NULL,
    PRIMARY KEY (app, version, instance_index)
  ) WITHOUT ROWID;
  CREATE TABLE IF NOT EXISTS stops (instance TEXT NOT NULL PRIMARY KEY, content TEXT NOT NULL) WITHOUT ROWID;
`;

/**
 * What a health manager that works alone must not forget when it is killed: crash counts, and orders that wait or were
 * just sent. Written before anything is done about it.
 */
export class StateFile {
  readonly #database: Database.Database;
  readonly #setCrashCount: Statement;
  readonly #setStart: Statement;
  readonly #setStop: Statement;
  readonly #deleteStart: Statement;
  readonly #deleteStop: Statement;

  /** Makes the file, and its directory, when missing. @throws when it cannot be opened, or is no database */
  constructor(path: string) {
    this.#database = open(path);
    const prepare = (sql: string) => this.#database.prepare(sql);
    this.#setCrashCount = prepare('INSERT OR REPLACE INTO crash_counts VALUES (?, ?, ?, ?, ?)');
    this.#setStart = prepare('INSERT OR REPLACE INTO starts VALUES (?, ?, ?, ?)');
    this.#setStop = prepare('INSERT OR REPLACE INTO stops VALUES (?, ?)');
    this.#deleteStart = prepare('DELETE FROM starts WHERE app = ? AND version = ? AND instance_index = ?');
    this.#deleteStop = prepare('DELETE FROM stops WHERE instance = ?');
  }

  async load(): Promise<KeptOrders> {
    return {
      crashCounts: this.#read<KeptCrashCount>('crash_counts'),
      starts: this.#read<PendingStart>('starts'),
      stops: this.#read<PendingStop>('stops'),
    };
  }

  /** All of it or nothing. */
  async save({ crashCounts, starts, stops }: KeptOrders): Promise<void> {
    if (crashCounts.length + starts.length + stops.length === 0) return;
    this.#database.transaction(() => {
      for (const count of crashCounts) {
        this.#setCrashCount.run(count.app, count.version, count.index, count.expiresAt, JSON.stringify(count));
      }
      this.#setOrders(starts, stops);
    })();
  }

  async commit({ sentStarts, sentStops, deletedStarts, deletedStops }: SendResult): Promise<void> {
    this.#database.transaction(() => {
      this.#setOrders(sentStarts, sentStops);
      for (const { app, version, index } of deletedStarts) this.#deleteStart.run(app, version, index);
      for (const { instance } of deletedStops) this.#deleteStop.run(instance);
    })();
  }

  /** @param now unix seconds */
  async compact(now: number): Promise<void> {
    this.#database.prepare('DELETE FROM crash_counts WHERE expires_at <= ?').run(now);
  }

  /** Idempotent. */
  async close(): Promise<void> {
    this.#database.close();
  }

  #setOrders(starts: PendingStart[], stops: PendingStop[]): void {
    for (const start of starts) this.#setStart.run(start.app, start.version, start.index, JSON.stringify(start));
    for (const stop of stops) this.#setStop.run(stop.instance, JSON.stringify(stop));
  }

  #read<Row>(table: 'crash_counts' | 'starts' | 'stops'): Row[] {
    const rows = this.#database.prepare<[], { content: string }>(`SELECT content FROM ${table}`).all();
    return rows.map(({ content }) => JSON.parse(content) as Row);
  }
}

function open(path: string): Database.Database {
  try {
    mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
    const database = new Database(path);
    database.pragma('journal_mode = WAL');
    // A killed process loses nothing; a power cut may cost the last pass, which the next one repeats.
    database.pragma('synchronous = NORMAL');
    database.exec(schema);
    return database;
  } catch (cause) {
    throw new Error(`snapshot_file ${path}: ${(cause as Error).message}`, { cause });
  }
}
