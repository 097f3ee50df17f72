import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import Database from 'better-sqlite3';

/**
 * Keeps a second process off a directory. The kernel gives it back when the process ends, however that happens: SQLite
 * locks its file, which Node cannot by itself.
 */
export class DirectoryLock {
  #database: Database.Database | undefined;

  constructor(private readonly directory: string) {}

  /** @throws when another process has it */
  async take(): Promise<void> {
    if (this.#database) return;
    await mkdir(this.directory, { recursive: true, mode: 0o700 });
    const database = new Database(join(this.directory, 'in-use'), { timeout: 0 });
    try {
      database.exec('BEGIN EXCLUSIVE');
    } catch (error) {
      database.close();
      if ((error as { code?: string }).code !== 'SQLITE_BUSY') throw error;
      throw new Error(`${this.directory} is in use by another process`, { cause: error });
    }
    this.#database = database;
  }

  /** Idempotent. */
  free(): void {
    this.#database?.close();
    this.#database = undefined;
  }
}
