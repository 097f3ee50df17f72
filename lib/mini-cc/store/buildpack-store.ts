import { randomUUID } from 'node:crypto';
import { ApiError } from '../errors.js';
import type { MiniCcDatabase } from './database.js';

/** A buildpack of the operator's. */
export interface Buildpack {
  guid: string;
  name: string;
  /** Detection order, from 1. */
  position: number;
  enabled: boolean;
  /** SHA-1 of its zip; null before the first upload. */
  sha1: string | null;
  filename: string | null;
  created_at: string;
  updated_at: string;
}

type Row = Omit<Buildpack, 'enabled'> & { enabled: number };

/** Name of a buildpack's directory in the stagers' caches; a new content gets a new name. */
export function buildpackKey(buildpack: Buildpack): string {
  return `${buildpack.guid}_${buildpack.sha1}`;
}

/** Buildpacks in the database, in detection order. */
export class BuildpackStore {
  constructor(
    private readonly database: MiniCcDatabase,
    private readonly now: () => number,
  ) {}

  list(): Buildpack[] {
    return this.database.prepare<[], Row>('SELECT * FROM buildpacks ORDER BY position, created_at').all().map(fromRow);
  }

  /** Those that stagers get: enabled and uploaded. */
  listUsable(): Buildpack[] {
    return this.list().filter((buildpack) => buildpack.enabled && buildpack.sha1 !== null);
  }

  findByName(name: string): Buildpack | undefined {
    return this.list().find((buildpack) => buildpack.name === name);
  }

  /** @throws ApiError ResourceNotFound */
  get(guid: string): Buildpack {
    const row = this.database.prepare<[string], Row>('SELECT * FROM buildpacks WHERE guid = ?').get(guid);
    if (!row) throw new ApiError('ResourceNotFound', `The buildpack could not be found: ${guid}`);
    return fromRow(row);
  }

  /** Adds a buildpack at the end of the order, or at `position`, which moves those behind it. @throws ApiError InvalidRequest for a taken name */
  insert(name: string, position?: number): Buildpack {
    if (this.findByName(name)) throw new ApiError('InvalidRequest', `the buildpack name is taken: ${name}`);
    const guid = randomUUID();
    const time = new Date(this.now()).toISOString();
    this.database.transaction(() => {
      const last = this.list().length + 1;
      this.database
        .prepare(
          'INSERT INTO buildpacks (guid, name, position, enabled, created_at, updated_at) VALUES (?, ?, ?, 1, ?, ?)',
        )
        .run(guid, name, last, time, time);
      this.place(guid, position ?? last);
    })();
    return this.get(guid);
  }

  /** A position beyond the end is the end. @throws ApiError ResourceNotFound */
  update(guid: string, change: Partial<Pick<Buildpack, 'position' | 'enabled' | 'sha1' | 'filename'>>): Buildpack {
    const { enabled, sha1, filename } = { ...this.get(guid), ...change };
    this.database.transaction(() => {
      this.database
        .prepare('UPDATE buildpacks SET enabled = ?, sha1 = ?, filename = ?, updated_at = ? WHERE guid = ?')
        .run(enabled ? 1 : 0, sha1, filename, new Date(this.now()).toISOString(), guid);
      if (change.position !== undefined) this.place(guid, change.position);
    })();
    return this.get(guid);
  }

  /** Those behind it move up. */
  delete(guid: string): void {
    this.database.transaction(() => {
      this.database.prepare('DELETE FROM buildpacks WHERE guid = ?').run(guid);
      this.number(this.list().map((buildpack) => buildpack.guid));
    })();
  }

  /** Moves a buildpack to its place and numbers all anew. */
  private place(guid: string, position: number): void {
    const order = this.list().map((buildpack) => buildpack.guid);
    const others = order.filter((other) => other !== guid);
    others.splice(position - 1, 0, guid);
    this.number(others);
  }

  private number(order: string[]): void {
    const number = this.database.prepare('UPDATE buildpacks SET position = ? WHERE guid = ?');
    for (const [index, guid] of order.entries()) number.run(index + 1, guid);
  }
}

function fromRow(row: Row): Buildpack {
  return { ...row, enabled: row.enabled === 1 };
}
