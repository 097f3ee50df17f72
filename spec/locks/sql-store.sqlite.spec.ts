import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { behavesAsSqlLockStore } from './sql-store.js';

describe('SqlLockStore on SQLite', () => {
  let directory: string;

  before(async () => {
    directory = await mkdtemp(join(tmpdir(), 'locks-'));
  });

  after(() => rm(directory, { recursive: true }));

  behavesAsSqlLockStore(async () => ({ driver: 'sqlite3', connectionString: join(directory, 'locks.db') }));
});
