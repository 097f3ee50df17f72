import { execFileSync } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import type { BbsError } from '../../../lib/bbs/errors.js';
import { ErrorType } from '../../../lib/bbs/messages/models.js';
import { type RunningBbs, startBbs } from '../../support/bbs.js';
import { BoardLoad, sampleDesiredLrp } from '../../support/board-load.js';
import { rejectionOf } from '../../support/rejection.js';

describe('a board whose SQLite file is on a full disk', function () {
  this.timeout(60_000);
  let directory: string;
  let board: RunningBbs;

  before(async () => {
    directory = await mkdtemp(join(tmpdir(), 'bbs-full-disk-'));
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=4m', 'bbs-full-disk-spec', directory]);
    board = await startBbs({
      database: { database_driver: 'sqlite3', database_connection_string: join(directory, 'bbs.db') },
      config: { lock_ttl: '10m' },
    });
  });

  after(async () => {
    await board?.stop();
    execFileSync('umount', [directory]);
    await rm(directory, { recursive: true });
  });

  it('refuses what it cannot store, serves reads, and goes on when there is room', async () => {
    const load = new BoardLoad(4);
    await load.runFor(board.client, 50);
    const filler = join(directory, 'filler');
    await writeFile(filler, Buffer.alloc(4 * 1024 * 1024)).catch(() => {});
    // What the log of the database had room for still went in.
    const annotation = 'x'.repeat(10_000);
    const error = await rejectionOf(
      (async () => {
        for (let count = 0; count < 500; count += 1) {
          await board.client.call('DesireDesiredLRP', {
            desiredLrp: sampleDesiredLrp(`full-${count}`, { annotation }),
          });
        }
      })(),
    );
    expect((error as Error & BbsError).type).to.equal(ErrorType.UnknownError);
    expect(error.message).to.match(/database or disk is full/);
    await load.run(board.client, { isOver: () => false });
    expect(load.unacknowledged).to.equal(4);
    await load.settle(board.client);
    await rm(filler);
    await load.runFor(board.client, 50);
    await board.restart();
    await load.settle(board.client);
  });
});
