import type { Backend } from '../apps/app.js';
import type { MiniCcDatabase } from './database.js';

/**
 * An app that changes sides while it is started: what runs on the other side may end only when the target is known to run
 * the app (docs/protocol/legacy-cc.md §9.6).
 */
export interface HandOver {
  app_guid: string;
  target: Backend;
  /** The app's version when it began: the one that the other side runs. */
  version: string;
  /** ISO 8601. */
  begun_at: string;
}

/** Hand-overs that are under way, in the database. */
export class HandOverStore {
  constructor(
    private readonly database: MiniCcDatabase,
    private readonly now: () => number,
  ) {}

  list(): HandOver[] {
    return this.database.prepare<[], HandOver>('SELECT * FROM hand_overs ORDER BY begun_at').all();
  }

  find(appGuid: string): HandOver | undefined {
    return this.database.prepare<[string], HandOver>('SELECT * FROM hand_overs WHERE app_guid = ?').get(appGuid);
  }

  /** Takes the place of one in the other direction. */
  put(appGuid: string, target: Backend, version: string): void {
    this.database
      .prepare('INSERT OR REPLACE INTO hand_overs (app_guid, target, version, begun_at) VALUES (?, ?, ?, ?)')
      .run(appGuid, target, version, new Date(this.now()).toISOString());
  }

  /** Idempotent. */
  delete(appGuid: string): void {
    this.database.prepare('DELETE FROM hand_overs WHERE app_guid = ?').run(appGuid);
  }
}
