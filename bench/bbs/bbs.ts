import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { BbsClient } from '../../lib/bbs/client/bbs-client.js';
import { readIdentity } from '../../lib/http/internal-tls.js';
import { startPlayedPeer } from '../../spec/support/bbs.js';
import { startMariadb } from '../../spec/support/mariadb.js';
import type { Figure } from '../figure.js';
import { processCost } from '../process-cost.js';
import { type BoardDatabase, BoardProcess } from './board-process.js';
import { addCells, durationOfPass, removeCells } from './cells.js';
import { Load, type LoadOptions } from './load.js';
import type { Operation } from './requests.js';

const rows = 10_000;
const cells = 100;
const readSeconds = 5;
const clientProcesses = 2;
const megabyte = 1024 * 1024;

/** What MariaDB does unless it is told otherwise: each commit is on the disk. */
const defaultDurability = {
  'innodb-flush-log-at-trx-commit': '1',
  'innodb-flush-method': 'fsync',
  'innodb-buffer-pool-size': '128M',
  'innodb-log-file-size': '96M',
};

/**
 * A board with ten thousand LRPs over mutual TLS. The clients run on the same processors: with two of them, fast answers
 * are bound by board and clients together.
 */
export async function benchBbs(): Promise<Figure[]> {
  const mariadb = await startMariadb({ settings: defaultDurability });
  try {
    const connectionString = await mariadb.createDatabase();
    const databases: Record<string, (directory: string) => BoardDatabase> = {
      mariadb: () => ({ driver: 'mysql', connectionString }),
      sqlite: (directory) => ({ driver: 'sqlite3', connectionString: join(directory, 'bbs.db') }),
    };
    const figures: Figure[] = [];
    for (const [name, database] of Object.entries(databases)) {
      const found = await benchOn(database);
      figures.push(...found.map((figure) => ({ ...figure, name: `${name}: ${figure.name}` })));
    }
    return figures;
  } finally {
    await mariadb.stop();
  }
}

async function benchOn(database: (directory: string) => BoardDatabase): Promise<Figure[]> {
  const auctioneer = await startPlayedPeer();
  const board = await BoardProcess.start(database, {
    auctioneer_address: auctioneer.url,
    converge_repeat_interval: '1h',
    presence_watch_interval: 0,
  });
  const load = new Load(board, clientProcesses);
  try {
    return await new BoardBench(board, load).run();
  } finally {
    await load.stop();
    await board.stop();
    await auctioneer.stop();
  }
}

class BoardBench {
  readonly #figures: Figure[] = [];

  constructor(
    private readonly board: BoardProcess,
    private readonly load: Load,
  ) {}

  async run(): Promise<Figure[]> {
    await this.#writes();
    await this.#reads();
    await this.#events();
    await this.#tasks();
    await this.#convergence();
    return this.#figures;
  }

  async #writes(): Promise<void> {
    await this.#measure('desire_lrp', 1500, 16);
    await this.#measure('claim_actual_lrp', 2500, 16);
    await this.#measure('start_actual_lrp', 2500, 16);
    await this.#measure('update_desired_lrp', 2500, 16);
    await this.#measure('update_desired_lrp', 0, 1, 2000);
  }

  async #reads(): Promise<void> {
    await this.#measure('start_actual_lrp', 0, 16, rows, readSeconds, 'again, nothing new');
    await this.#measure('desired_lrp_by_guid', 6000, 16, rows, readSeconds);
    await this.#measure('actual_lrps_by_guid', 6000, 16, rows, readSeconds);
    await this.#measure('desired_lrps', 60, 4, clientProcesses, readSeconds);
    await this.#measure('scheduling_infos', 200, 4, clientProcesses, readSeconds);
    await this.#measure('actual_lrps', 200, 4, clientProcesses, readSeconds);
    await this.#memory();
  }

  /** Desired LRPs are changed while ten clients follow. */
  async #events(): Promise<void> {
    const { ca, cert, key } = this.board.files;
    const tls = readIdentity({ caFile: ca, certFile: cert, keyFile: key });
    const client = BbsClient.create({ url: `https://localhost:${this.board.port}`, tls });
    const subscriptions = await Promise.all(
      Array.from({ length: 10 }, () => client.subscribe('LRPInstanceEventStream')),
    );
    const counts = subscriptions.map(async (subscription) => {
      let count = 0;
      for await (const _event of subscription) if (++count === rows) break;
      return count;
    });
    await this.#measure('update_desired_lrp', 2000, 16, rows, undefined, 'with 10 subscribers');
    await Promise.all(counts);
    client.stop();
  }

  async #tasks(): Promise<void> {
    await this.#measure('desire_task', 1500, 16);
    for (const operation of ['start_task', 'complete_task', 'resolve_task', 'delete_task'] as const) {
      await this.#measure(operation, 2500, 16);
    }
  }

  async #convergence(): Promise<void> {
    const { board } = this;
    await addCells(board, cells);
    await this.#pass('convergence, steady', '< 50');
    await removeCells(board, cells);
    await this.#pass('convergence, all cells lost', '< 2000');
  }

  async #pass(name: string, target: string): Promise<void> {
    this.#figures.push({ name, value: await durationOfPass(this.board), unit: 'ms', target });
  }

  async #memory(): Promise<void> {
    await delay(1000);
    const { residentBytes } = await processCost(this.board.pid);
    this.#figures.push({ name: 'memory, resident', value: residentBytes / megabyte, unit: 'MiB', target: '< 250' });
  }

  async #measure(
    operation: Operation,
    target: number,
    clients: number,
    to = rows,
    seconds?: number,
    note = '',
  ): Promise<void> {
    const options: LoadOptions = { operation, clients, to, ...(seconds !== undefined && { seconds }) };
    const { perSecond, p50Ms, boardCpu, clientCpu } = await this.load.run(options);
    const cost = `p50 ${p50Ms.toFixed(1)} ms, processors: board ${boardCpu.toFixed(2)}, clients ${clientCpu.toFixed(2)}`;
    const title = [operation.replaceAll('_', ' '), note, clients === 16 ? '' : `${clients} clients`].filter(Boolean);
    process.stderr.write(`  ${title.join(', ')}: ${perSecond.toFixed(0)}/s, ${cost}\n`);
    this.#figures.push({
      name: title.join(', '),
      value: perSecond,
      unit: `/s  ${cost}`,
      target: target === 0 ? '' : `>= ${target}`,
    });
  }
}
