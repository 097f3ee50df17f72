import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { processCost } from '../process-cost.js';
import type { BoardProcess } from './board-process.js';
import type { Job, JobResult } from './load-client.js';
import type { Operation } from './requests.js';

export interface LoadOptions {
  operation: Operation;
  /** Connections over all client processes. */
  clients: number;
  from?: number;
  to: number;
  /** Undefined: each row once. */
  seconds?: number;
}

export interface LoadResult {
  perSecond: number;
  p50Ms: number;
  megabytesPerSecond: number;
  /** Part of one processor, 0 to 1 for each. */
  boardCpu: number;
  clientCpu: number;
}

const program = new URL('load-client.ts', import.meta.url).pathname;

/** Client processes that put load on a board; what they cost themselves is told beside. */
export class Load {
  readonly #children: ChildProcess[];
  readonly #answers: AsyncIterator<string>[];

  constructor(
    private readonly board: BoardProcess,
    processes: number,
  ) {
    this.#children = Array.from({ length: processes }, () =>
      spawn(process.execPath, ['--import', 'tsx', program], { stdio: ['pipe', 'pipe', 'inherit'] }),
    );
    this.#answers = this.#children.map(({ stdout }) => createInterface({ input: stdout! })[Symbol.asyncIterator]());
  }

  /** @throws when an answer was an error */
  async run({ operation, clients, from = 0, to, seconds }: LoadOptions): Promise<LoadResult> {
    const count = Math.min(this.#children.length, clients);
    const before = await processCost(this.board.pid);
    const begun = performance.now();
    const results = await Promise.all(
      this.#children.slice(0, count).map(async ({ stdin }, index) => {
        const { port, files } = this.board;
        const connections = Math.floor(clients / count);
        const job: Job = {
          operation,
          port,
          files,
          connections,
          from: from + index,
          to,
          step: count,
          ...(seconds && { seconds }),
        };
        stdin!.write(`${JSON.stringify(job)}\n`);
        return JSON.parse((await this.#answers[index]!.next()).value) as JobResult;
      }),
    );
    const elapsed = (performance.now() - begun) / 1000;
    const after = await processCost(this.board.pid);
    const errors = results.reduce((sum, result) => sum + result.errors, 0);
    if (errors > 0) throw new Error(`${operation}: ${errors} answers were errors`);
    const latencies = results.flatMap((result) => result.latencies).sort((a, b) => a - b);
    return {
      perSecond: latencies.length / elapsed,
      p50Ms: latencies[Math.floor(latencies.length / 2)] ?? 0,
      megabytesPerSecond: results.reduce((sum, { bytes }) => sum + bytes, 0) / 1e6 / elapsed,
      boardCpu: (after.cpuSeconds - before.cpuSeconds) / elapsed,
      clientCpu: results.reduce((sum, { cpuMs }) => sum + cpuMs, 0) / 1000 / elapsed,
    };
  }

  async stop(): Promise<void> {
    await Promise.all(
      this.#children.map(async (child) => {
        const exited = once(child, 'exit');
        child.kill();
        await exited;
      }),
    );
  }
}
