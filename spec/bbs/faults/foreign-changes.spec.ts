import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { CompiledQuery } from 'kysely';
import type { BbsError } from '../../../lib/bbs/errors.js';
import { ErrorType } from '../../../lib/bbs/messages/models.js';
import { readConfiguration } from '../../../lib/bbs/storage/schema/configurations.js';
import type { BoardTables } from '../../../lib/bbs/storage/schema/tables.js';
import { openDatabase } from '../../../lib/database/database.js';
import { type RunningBbs, startBbs } from '../../support/bbs.js';
import { BoardLoad, sampleDesiredLrp, sampleTaskDefinition } from '../../support/board-load.js';
import { eventually } from '../../support/eventually.js';
import { RawEventStream } from '../../support/raw-event-stream.js';
import { rejectionOf } from '../../support/rejection.js';

describe('a board whose database or clock somebody else changes', () => {
  let directory: string;
  let path: string;
  let board: RunningBbs;

  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), 'bbs-foreign-'));
    path = join(directory, 'bbs.db');
    board = await startBoard();
    await board.client.call('DesireDesiredLRP', { desiredLrp: sampleDesiredLrp('kept', { instances: 2 }) });
    await board.client.call('DesireDesiredLRP', { desiredLrp: sampleDesiredLrp('gone', { instances: 1 }) });
    await board.client.call('DesireTask', {
      taskGuid: 'task',
      domain: 'load',
      taskDefinition: sampleTaskDefinition(),
    });
  });

  afterEach(async () => {
    await board.stop();
    await rm(directory, { recursive: true });
  });

  const startBoard = (config: Record<string, unknown> = {}) =>
    startBbs({ database: { database_driver: 'sqlite3', database_connection_string: path }, config });

  async function byHand(...statements: string[]): Promise<void> {
    const database = await openDatabase({ driver: 'sqlite3', connectionString: path });
    try {
      await database.transact(statements.map((statement) => CompiledQuery.raw(statement)));
    } finally {
      await database.stop();
    }
  }

  async function storedKeyLabel(): Promise<string | undefined> {
    const database = await openDatabase<BoardTables>({ driver: 'sqlite3', connectionString: path });
    try {
      return await readConfiguration(database, 'encryption_key_label');
    } finally {
      await database.stop();
    }
  }

  const changes = {
    'rows are deleted': `DELETE FROM desired_lrps WHERE process_guid = 'gone'`,
    'a row is updated': `UPDATE desired_lrps SET instances = 7 WHERE process_guid = 'kept'`,
    'an instance gets another state': `UPDATE actual_lrps SET state = 'CRASHED' WHERE process_guid = 'kept'`,
    'a task is deleted': `DELETE FROM tasks`,
    'everything is deleted': `DELETE FROM actual_lrps`,
  };

  for (const [what, statement] of Object.entries(changes)) {
    it(`reads anew when ${what}, and ends the streams of those who would not know`, async () => {
      const streams = await Promise.all(
        ['lrp_instances', 'tasks'].map((kind) => RawEventStream.open(board.url, `/v1/events/${kind}.r1`)),
      );
      await byHand(statement);
      await board.bbs.converge();
      for (const stream of streams) expect(await stream.ended).to.equal('last chunk');
      const { desiredLrps } = await board.client.call('DesiredLRPs');
      const kept = desiredLrps.find(({ processGuid }) => processGuid === 'kept')!;
      expect(kept.instances).to.equal(what === 'a row is updated' ? 7 : 2);
      expect(desiredLrps).to.have.lengthOf(what === 'rows are deleted' ? 1 : 2);
      expect((await board.client.call('Tasks')).tasks).to.have.lengthOf(what === 'a task is deleted' ? 0 : 1);
      // The pass that found it makes up for what is missing.
      const { actualLrps } = await board.client.call('ActualLRPs', { processGuid: 'kept' });
      expect(actualLrps).to.have.lengthOf.at.least(what === 'everything is deleted' ? 0 : 2);
      const load = new BoardLoad(2, 'after');
      await load.runFor(board.client, 20);
      await load.settle(board.client);
    });
  }

  it('keeps its streams when nobody has changed anything', async () => {
    const stream = await RawEventStream.open(board.url, '/v1/events/tasks.r1');
    await board.bbs.converge();
    await board.client.call('StartTask', { taskGuid: 'task', cellId: 'cell' });
    await board.client.call('CancelTask', { taskGuid: 'task' });
    await board.bbs.converge();
    let isEnded = false;
    void stream.ended.then(() => {
      isEnded = true;
    });
    await board.client.call('ResolvingTask', { taskGuid: 'task' });
    expect(isEnded).to.equal(false);
    stream.close();
  });

  it('tells a table that is gone from rows that are gone: says so to whoever writes, and ends in order', async () => {
    const stream = await RawEventStream.open(board.url, '/v1/events/tasks.r1');
    await byHand('DROP TABLE tasks');
    await board.bbs.converge();
    expect((await board.client.call('Tasks')).tasks).to.have.lengthOf(1);
    const error = await rejectionOf(board.client.call('StartTask', { taskGuid: 'task', cellId: 'cell' }));
    expect((error as Error & BbsError).type).to.equal(ErrorType.Unrecoverable);
    expect(error.message).to.match(/^Unrecoverable Error: .*no such table: tasks/);
    expect(await stream.ended).to.equal('last chunk');
    expect(await eventually(() => board.fatal)).to.match(/no such table/);
  });

  for (const [name, seconds] of Object.entries({ ahead: 400 * 86_400, back: -400 * 86_400 })) {
    it(`goes on when its clock jumps ${name}`, async () => {
      await board.addCell('cell-1');
      const load = new BoardLoad(2, 'clock');
      await load.runFor(board.client, 30);
      board.advance(seconds);
      await load.runFor(board.client, 30);
      await load.settle(board.client);
      await board.bbs.converge();
      board.advance(-seconds);
      await board.bbs.converge();
      await board.restart();
      expect((await board.client.call('DesiredLRPs')).desiredLrps).to.have.lengthOf.at.least(2);
      expect(board.fatal).to.equal(undefined);
    });
  }

  it('encrypts with a new key while clients work, and needs the old one no more', async () => {
    const both = { 'key-1': 'a passphrase', 'key-2': 'another one' };
    await board.stop();
    board = await startBoard({ active_key_label: 'key-2', encryption_keys: both });
    const load = new BoardLoad(4, 'rotation');
    await load.runFor(board.client, 200);
    await load.settle(board.client);
    await eventually(async () => (await storedKeyLabel()) === 'key-2' || undefined, {
      what: 'the end of the rotation',
    });
    await board.stop();
    board = await startBoard({ active_key_label: 'key-2', encryption_keys: { 'key-2': 'another one' } });
    await load.settle(board.client);
    expect((await board.client.call('Tasks', { domain: 'load' })).tasks).to.have.lengthOf(1);
    await board.stop();
    const error = await rejectionOf(startBoard({ active_key_label: 'key-1' }));
    expect(error.message).to.equal('the board is not active');
    board = await startBoard({ active_key_label: 'key-2', encryption_keys: { 'key-2': 'another one' } });
  });
});
