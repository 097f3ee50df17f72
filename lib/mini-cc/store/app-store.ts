import type { App } from '../apps/app.js';
import { ApiError } from '../errors.js';
import type { MiniCcDatabase } from './database.js';

/** Columns of the table, without the sequence number that the database gives. */
const columns = [
  'guid',
  'name',
  'version',
  'state',
  'package_state',
  'instances',
  'memory',
  'disk_quota',
  'file_descriptors',
  'stack',
  'buildpack',
  'command',
  'env',
  'routes',
  'services',
  'diego',
  'health_check_type',
  'health_check_timeout',
  'package_hash',
  'droplet_hash',
  'staging_task_id',
  'staging_failed_reason',
  'staging_failed_description',
  'detected_buildpack',
  'detected_start_command',
  'execution_metadata',
  'package_pending_since',
  'created_at',
  'updated_at',
] as const satisfies (keyof App)[];

type Row = Omit<App, 'env' | 'routes' | 'services' | 'diego'> & {
  env: string;
  routes: string;
  services: string;
  diego: number;
};

/**
 * Apps that Diego is to run. One that is on its way back to cells stays among them, in the version that Diego has of it,
 * until the cells run it (docs/protocol/legacy-cc.md §9.6).
 */
const diegoApps = `SELECT apps.*, coalesce(hand_overs.version, apps.version) AS version FROM apps
  LEFT JOIN hand_overs ON hand_overs.app_guid = apps.guid AND hand_overs.target = 'dea' AND apps.diego = 0
  WHERE state = 'STARTED' AND droplet_hash IS NOT NULL
    AND (diego = 1 AND package_state = 'STAGED' OR hand_overs.version IS NOT NULL)`;

/** Apps in the database; every write is durable when it returns. */
export class AppStore {
  constructor(
    private readonly database: MiniCcDatabase,
    private readonly now: () => number,
  ) {}

  /** @throws ApiError AppNameTaken */
  insert(app: Omit<App, 'id' | 'created_at' | 'updated_at'>): App {
    const time = this.timestamp();
    const row = toRow({ ...app, id: 0, created_at: time, updated_at: time });
    const placeholders = columns.map((column) => `@${column}`).join(', ');
    refuseTakenName(app.name, () =>
      this.database.prepare(`INSERT INTO apps (${columns.join(', ')}) VALUES (${placeholders})`).run(row),
    );
    return this.get(app.guid);
  }

  find(guid: string): App | undefined {
    const row = this.database.prepare<[string], Row>('SELECT * FROM apps WHERE guid = ?').get(guid);
    return row && fromRow(row);
  }

  /** @throws ApiError AppNotFound */
  get(guid: string): App {
    const app = this.find(guid);
    if (!app) throw new ApiError('AppNotFound', guid);
    return app;
  }

  findByName(name: string): App | undefined {
    const row = this.database.prepare<[string], Row>('SELECT * FROM apps WHERE name = ?').get(name);
    return row && fromRow(row);
  }

  /** All apps in the order they were made. */
  list(): App[] {
    return this.database.prepare<[], Row>('SELECT * FROM apps ORDER BY id').all().map(fromRow);
  }

  /** Apps that cells run, in the order they were made: up to `limit` of those whose sequence number is larger. */
  listForCells(afterId: number, limit: number): App[] {
    const query = 'SELECT * FROM apps WHERE id > ? AND diego = 0 ORDER BY id LIMIT ?';
    return this.database.prepare<[number, number], Row>(query).all(afterId, limit).map(fromRow);
  }

  /** Apps that Diego runs, in the order they were made: up to `limit` of those whose sequence number is larger. */
  listForDiego(afterId: number, limit: number): App[] {
    const query = `${diegoApps} AND id > ? ORDER BY id LIMIT ?`;
    return this.database.prepare<[number, number], Row>(query).all(afterId, limit).map(fromRow);
  }

  /** The app if Diego is to run it, in the version that Diego has of it. */
  findForDiego(guid: string): App | undefined {
    const row = this.database.prepare<[string], Row>(`${diegoApps} AND guid = ?`).get(guid);
    return row && fromRow(row);
  }

  /** Apps with a service that wants their logs: up to `limit` of those whose sequence number is larger. */
  listDrained(afterId: number, limit: number): App[] {
    const query = `SELECT * FROM apps WHERE id > ? AND EXISTS (
        SELECT 1 FROM json_each(services) WHERE json_extract(value, '$.syslog_drain_url') <> ''
      ) ORDER BY id LIMIT ?`;
    return this.database.prepare<[number, number], Row>(query).all(afterId, limit).map(fromRow);
  }

  /** How many apps are in the state. */
  count(state: App['state']): number {
    const query = 'SELECT count(*) AS count FROM apps WHERE state = ?';
    return this.database.prepare<[string], { count: number }>(query).get(state)!.count;
  }

  /** Apps whose staging is under way. */
  listStaging(): App[] {
    const query = `SELECT * FROM apps WHERE package_state = 'PENDING' AND staging_task_id IS NOT NULL ORDER BY id`;
    return this.database.prepare<[], Row>(query).all().map(fromRow);
  }

  /** @throws ApiError AppNotFound, AppNameTaken */
  update(guid: string, change: Partial<Omit<App, 'id' | 'guid' | 'created_at' | 'updated_at'>>): App {
    const before = this.get(guid);
    const row = toRow({ ...before, ...change, updated_at: this.timestamp(before.updated_at) });
    const assignments = columns.map((column) => `${column} = @${column}`).join(', ');
    refuseTakenName(row.name, () =>
      this.database.prepare(`UPDATE apps SET ${assignments} WHERE guid = @guid`).run(row),
    );
    return this.get(guid);
  }

  delete(guid: string): void {
    this.database.transaction(() => {
      for (const table of ['droplets', 'events', 'hand_overs', 'tasks']) {
        this.database.prepare(`DELETE FROM ${table} WHERE app_guid = ?`).run(guid);
      }
      this.database.prepare('DELETE FROM apps WHERE guid = ?').run(guid);
    })();
  }

  /**
   * Makes a droplet the app's current one and keeps the newest `kept`.
   * @returns SHA-1s of those that are not kept any more
   */
  addDroplet(guid: string, sha1: string, kept: number): string[] {
    return this.database.transaction(() => {
      this.database.prepare('DELETE FROM droplets WHERE app_guid = ? AND sha1 = ?').run(guid, sha1);
      this.database.prepare('INSERT INTO droplets (app_guid, sha1) VALUES (?, ?)').run(guid, sha1);
      this.update(guid, { droplet_hash: sha1 });
      const dropped = this.database
        .prepare<[string, number], { id: number; sha1: string }>(
          'SELECT id, sha1 FROM droplets WHERE app_guid = ? ORDER BY id DESC LIMIT -1 OFFSET ?',
        )
        .all(guid, kept);
      for (const { id } of dropped) this.database.prepare('DELETE FROM droplets WHERE id = ?').run(id);
      return dropped.map((droplet) => droplet.sha1);
    })();
  }

  /** Later than the one before: Diego knows a changed app by it. */
  private timestamp(before?: string): string {
    const earliest = before === undefined ? 0 : Date.parse(before) + 1;
    return new Date(Math.max(this.now(), earliest)).toISOString();
  }
}

function toRow(app: App): Row {
  return {
    ...app,
    env: JSON.stringify(app.env),
    routes: JSON.stringify(app.routes),
    services: JSON.stringify(app.services),
    diego: app.diego ? 1 : 0,
  };
}

function fromRow(row: Row): App {
  return {
    ...row,
    env: JSON.parse(row.env) as App['env'],
    routes: JSON.parse(row.routes) as App['routes'],
    services: JSON.parse(row.services) as App['services'],
    diego: row.diego === 1,
  };
}

function refuseTakenName(name: string, write: () => unknown): void {
  try {
    write();
  } catch (error) {
    if (error instanceof Error && error.message.includes('apps.name')) throw new ApiError('AppNameTaken', name);
    throw error;
  }
}
