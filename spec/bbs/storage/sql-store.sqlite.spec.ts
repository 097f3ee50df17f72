import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { itKeepsTheBoard } from './store-contract.js';

describe('SqlStore on SQLite', () => {
  let directory: string;

  before(async () => {
    directory = await mkdtemp(join(tmpdir(), 'board-'));
  });

  after(() => rm(directory, { recursive: true, force: true }));

  itKeepsTheBoard(async () => ({ driver: 'sqlite3', connectionString: join(directory, 'board.db') }));
});
