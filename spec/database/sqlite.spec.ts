import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import Sqlite from 'better-sqlite3';
import { expect } from 'chai';
import { CompiledQuery } from 'kysely';
import { openDatabase } from '../../lib/database/database.js';
import { DatabaseUnreachable } from '../../lib/database/errors.js';
import { specProgram } from '../support/typescript.js';
import { itIsADatabase, makeThings, type Things, thing } from './database-contract.js';

describe('Database on SQLite', () => {
  let directory: string;

  before(async () => {
    directory = await mkdtemp(join(tmpdir(), 'database-'));
  });

  after(() => rm(directory, { recursive: true, force: true }));

  const optionsFor = (name: string) => ({ driver: 'sqlite3' as const, connectionString: join(directory, name) });

  itIsADatabase(async () => optionsFor('contract.db'));

  it('does not open what is no database, and names the file and the reason', async () => {
    await writeFile(join(directory, 'text'), 'not a database, but a text of some length'.repeat(100));
    const reasons = { text: 'file is not a database', 'missing/file.db': 'Cannot open database' };
    for (const [name, reason] of Object.entries(reasons)) {
      const error = await openDatabase(optionsFor(name)).then(
        () => undefined,
        (error) => error,
      );
      expect(error).to.be.instanceOf(DatabaseUnreachable);
      expect(error.message).to.contain(`${join(directory, name)}: ${reason}`);
    }
  });

  it('waits for another process that is writing to the file', async () => {
    const database = await openDatabase<Things>(optionsFor('shared.db'));
    await database.transact([CompiledQuery.raw(makeThings)]);
    const other = new Sqlite(join(directory, 'shared.db'));
    try {
      other.exec('BEGIN IMMEDIATE');
      const written = database.transact([database.kysely.insertInto('things').values(thing('a')).compile()]);
      // Reads are free meanwhile; this one stands behind the write, in its own connection's order.
      expect(other.prepare('SELECT count(*) AS rows FROM things').get()).to.eql({ rows: 0 });
      other.exec('COMMIT');
      expect(await written).to.eql([1]);
    } finally {
      other.close();
      await database.stop();
    }
  });

  it('keeps what it has acknowledged when its process is killed', async () => {
    const path = join(directory, 'killed.db');
    const child = spawn(process.execPath, [...specProgram('spec/support/sqlite-writer-child.ts'), path], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    let told = '';
    for await (const chunk of child.stdout) {
      told += chunk;
      if (told.split('\n').length > 50) break;
    }
    child.kill('SIGKILL');
    await once(child, 'exit');
    const acknowledged = Number(told.trim().split('\n').at(-1));
    const database = new Sqlite(path, { readonly: true });
    const { last } = database.prepare('SELECT max(number) AS last FROM things').get() as { last: number };
    database.close();
    expect(last).to.be.at.least(acknowledged);
  });
});
