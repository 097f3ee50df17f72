import { randomUUID } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { BbsClient } from '../../lib/bbs/client/bbs-client.js';
import { type RunningInstance, running } from '../../lib/bbs/decisions/actual-lrps/lifecycle.js';
import { ActualLRP } from '../../lib/bbs/messages/models.js';
import { SqlStore } from '../../lib/bbs/storage/sql-store.js';
import type { RowChange } from '../../lib/bbs/storage/store.js';
import { runningInstance } from '../../lib/bbs/translations/running-instance.js';
import { readIdentity } from '../../lib/http/internal-tls.js';
import { silentLogger } from '../../lib/logging/logger.js';
import { startPlayedPeer } from '../../spec/support/bbs.js';
import type { Figure } from '../figure.js';
import { processCost } from '../process-cost.js';
import { BoardProcess } from './board-process.js';
import { addCells, durationOfPass } from './cells.js';
import { Load } from './load.js';
import { cellOf, desiredLrpOf, guidOf, runningLrpOf } from './requests.js';

const cells = 1000;
const processes = 50_000;
const instancesOfEach = 5;
const rowsPerWrite = 1000;
const updates = 10_000;
const subscribers = 10;
const megabyte = 1024 * 1024;

/** What upstream publishes as the size of one board: a quarter of a million instances on a thousand cells. */
export async function benchLargeBoard(): Promise<Figure[]> {
  const directory = await mkdtemp(join(tmpdir(), 'bbs-large-'));
  const connectionString = join(directory, 'bbs.db');
  const auctioneer = await startPlayedPeer();
  try {
    await seed(connectionString);
    const board = await BoardProcess.start(() => ({ driver: 'sqlite3', connectionString }), {
      auctioneer_address: auctioneer.url,
      converge_repeat_interval: '1h',
      presence_watch_interval: 0,
    });
    const load = new Load(board, 2);
    try {
      return await measure(board, load);
    } finally {
      await load.stop();
      await board.stop();
    }
  } finally {
    await auctioneer.stop();
    await rm(directory, { recursive: true, force: true });
  }
}

async function measure(board: BoardProcess, load: Load): Promise<Figure[]> {
  const startMs = await board.restart();
  await addCells(board, cells);
  const memory = async () => (await processCost(board.pid)).residentBytes / megabyte;
  const figures: Figure[] = [
    { name: 'start with 250,000 instances', value: startMs / 1000, unit: 's', target: '' },
    { name: 'memory after the start', value: await memory(), unit: 'MiB', target: '< 1500' },
  ];
  const list = await load.run({ operation: 'actual_lrps_of_cell', clients: 16, to: cells, seconds: 5 });
  figures.push({
    name: 'list of one cell, p50',
    value: list.p50Ms,
    unit: `ms (${list.perSecond.toFixed(0)}/s)`,
    target: '',
  });
  figures.push({ name: 'convergence, steady', value: await durationOfPass(board), unit: 'ms', target: '< 1000' });

  const { ca: caFile, cert: certFile, key: keyFile } = board.files;
  const tls = readIdentity({ caFile, certFile, keyFile });
  const client = BbsClient.create({ url: `https://localhost:${board.port}`, tls });
  const followed = Array.from({ length: subscribers }, async () => {
    let count = 0;
    for await (const _event of await client.subscribe('LRPInstanceEventStream')) if (++count === updates) return;
  });
  const written = await load.run({ operation: 'update_desired_lrp', clients: 16, to: updates });
  await Promise.all(followed);
  client.stop();
  figures.push(
    { name: `updates, ${subscribers} subscribers`, value: written.perSecond, unit: '/s', target: '' },
    { name: 'memory at the end', value: await memory(), unit: 'MiB', target: '< 1500' },
  );
  return figures;
}

/** Puts the rows into the database without a board. */
async function seed(path: string): Promise<void> {
  const store = SqlStore.create({
    database: { driver: 'sqlite3', connectionString: path },
    keys: { activeLabel: 'key-1', passphrases: { 'key-1': 'a passphrase' } },
    logger: silentLogger,
  });
  await store.start();
  try {
    await store.take();
    let chunk: RowChange[] = [];
    for (let index = 0; index < processes; index += 1) {
      chunk.push(...rowsOf(index));
      if (chunk.length < rowsPerWrite && index < processes - 1) continue;
      await store.write(chunk);
      chunk = [];
    }
  } finally {
    await store.stop();
  }
}

function rowsOf(index: number): RowChange[] {
  const desired = {
    ...desiredLrpOf(index),
    instances: instancesOfEach,
    modificationTag: { epoch: randomUUID(), index: 0 },
  };
  return [
    { table: 'desired_lrps', before: undefined, after: desired },
    ...Array.from({ length: instancesOfEach }, (_, at): RowChange => {
      const request = runningLrpOf(index * instancesOfEach + at, cells, guidOf(index), at);
      return { table: 'actual_lrps', before: undefined, after: rowOf(runningInstance(request, 1), index, at) };
    }),
  ];
}

function rowOf(instance: RunningInstance, index: number, at: number): ActualLRP {
  const row = ActualLRP.create({
    since: BigInt(Date.now()) * 1_000_000n,
    modificationTag: { epoch: randomUUID(), index: 2 },
  });
  const instanceKey = { instanceGuid: randomUUID(), cellId: cellOf(index * instancesOfEach + at, cells) };
  return running(row, { ...instance, instanceKey });
}
