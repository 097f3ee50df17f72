import { mkdtemp, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { startBbs } from '../../support/bbs.js';
import { BbsProgram } from '../../support/bbs-program.js';
import { sampleDesiredLrp } from '../../support/board-load.js';
import { eventually } from '../../support/eventually.js';
import { takePorts } from '../../support/host-share.js';
import { recordingLogger } from '../../support/recording-logger.js';
import { rejectionOf } from '../../support/rejection.js';

describe('the start of a board', () => {
  let directory: string;

  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), 'bbs-start-'));
  });

  afterEach(() => rm(directory, { recursive: true }));

  const sqlite = () => ({ database_driver: 'sqlite3', database_connection_string: join(directory, 'bbs.db') });

  it('fails with status 1 and a clear text when the database is away', async () => {
    const { start: port } = takePorts(1);
    const program = await BbsProgram.create({
      directory,
      config: { database_driver: 'mysql', database_connection_string: `board:secret@tcp(127.0.0.1:${port})/board` },
    });
    try {
      program.launch();
      const { status, stderr } = await program.ended();
      expect(status).to.equal(1);
      expect(stderr).to.equal(
        `Encountered error: no connection to the database: connect ECONNREFUSED 127.0.0.1:${port}\n`,
      );
    } finally {
      await program.dispose();
    }
  });

  it('fails with a clear text when PostgreSQL is away, or the file cannot be made', async () => {
    const { start: port } = takePorts(1);
    const texts = {
      postgres: [`postgres://board:secret@127.0.0.1:${port}/board`, /^no connection to the database: .*ECONNREFUSED/],
      sqlite3: [join(directory, 'nowhere', 'bbs.db'), /nowhere\/bbs\.db: Cannot open database/],
    } as const;
    for (const [driver, [text, pattern]] of Object.entries(texts)) {
      const database = { database_driver: driver, database_connection_string: text };
      const { message } = await rejectionOf(startBbs({ database }));
      expect(message).to.match(pattern);
      expect(message).not.to.include('secret');
    }
  });

  it('fails with status 1 when the database has another key, and says which', async () => {
    const board = await startBbs({ database: sqlite() });
    await board.stop();
    const program = await BbsProgram.create({
      directory,
      config: { ...sqlite(), active_key_label: 'key-2', encryption_keys: { 'key-2': 'another one' } },
    });
    try {
      program.launch();
      const reason = 'Existing encryption key version (key-1) is not among the known keys';
      const { status, stderr } = await program.ended();
      expect([status, stderr]).to.deep.equal([1, `Encountered error: ${reason}\n`]);
      expect(await program.log()).to.include(reason);
    } finally {
      await program.dispose();
    }
  });

  it('fails when the key has another passphrase', async () => {
    const board = await startBbs({ database: sqlite() });
    await board.client.call('DesireDesiredLRP', { desiredLrp: sampleDesiredLrp('p') });
    await board.stop();
    const { logger, lines } = recordingLogger();
    await rejectionOf(
      startBbs({ database: sqlite(), config: { encryption_keys: { 'key-1': 'another one' } }, logger }),
    );
    const reasons = lines.filter(({ message }) => message === 'bbs.ends').map(({ data }) => data.reason);
    expect(reasons).to.have.lengthOf(1);
    expect(reasons[0]).to.match(/^encryption_keys: no row of the database can be read: /);
  });

  it('says which keys it does not know, and opens its log anew at HUP, with the level of then', async () => {
    const program = await BbsProgram.create({ directory, config: { ...sqlite(), lock_tll: '5s', update_workers: 7 } });
    try {
      await program.start();
      expect(await program.log())
        .to.match(/"config\.key\.unknown".*"key":"lock_tll","did_you_mean":"lock_ttl"/)
        .and.to.match(/"config\.keys\.unused".*"update_workers"/);
      await rename(program.logPath, `${program.logPath}.1`);
      const file = JSON.parse(await readFile(program.configPath, 'utf8'));
      await writeFile(program.configPath, JSON.stringify({ ...file, log_level: 'debug' }));
      program.signal('SIGHUP');
      await eventually(async () => /"logging\.reopened".*"level":"debug"/.test(await program.log()) || undefined, {
        what: 'a line in the new log',
      });
      expect((await program.client.call('Ping')).available).to.equal(true);
    } finally {
      await program.dispose();
    }
  });
});
