import type { MiniCcDatabase } from './database.js';

/** Something that happened to an app, for its user to read. */
export interface AppEvent {
  id: number;
  app_guid: string;
  /** `app.crash`, `app.start-failed`, `audit.app.create` and others of that kind. */
  type: string;
  /** ISO 8601. */
  timestamp: string;
  metadata: Record<string, unknown>;
}

type Row = Omit<AppEvent, 'metadata'> & { metadata: string };

/** So many events are kept of each app; a crashing app must not fill the disk. */
const keptPerApp = 200;

/** Events in the database. */
export class EventStore {
  /** @param onAdded hears of each event when it is kept */
  constructor(
    private readonly database: MiniCcDatabase,
    private readonly now: () => number,
    private readonly onAdded: (event: AppEvent) => void = () => {},
  ) {}

  add(appGuid: string, type: string, metadata: Record<string, unknown> = {}): void {
    const timestamp = new Date(this.now()).toISOString();
    const id = this.database.transaction(() => {
      const { lastInsertRowid } = this.database
        .prepare('INSERT INTO events (app_guid, type, timestamp, metadata) VALUES (?, ?, ?, ?)')
        .run(appGuid, type, timestamp, JSON.stringify(metadata));
      this.database
        .prepare(
          `DELETE FROM events WHERE app_guid = ? AND id <=
             (SELECT id FROM events WHERE app_guid = ? ORDER BY id DESC LIMIT 1 OFFSET ?)`,
        )
        .run(appGuid, appGuid, keptPerApp);
      return Number(lastInsertRowid);
    })();
    this.onAdded({ id, app_guid: appGuid, type, timestamp, metadata });
  }

  /** Newest first. */
  list(appGuid: string): AppEvent[] {
    return this.database
      .prepare<[string], Row>('SELECT * FROM events WHERE app_guid = ? ORDER BY id DESC')
      .all(appGuid)
      .map((row) => ({ ...row, metadata: JSON.parse(row.metadata) as AppEvent['metadata'] }));
  }
}
