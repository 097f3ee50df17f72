import { createInterface } from 'node:readline';
import { Connection, type ConnectionFiles } from './connection.js';
import { type Operation, operations, type Request } from './requests.js';

/** What a client process is to do, one JSON line each; it answers with one line. */
export interface Job {
  operation: Operation;
  port: number;
  files: ConnectionFiles;
  connections: number;
  /** About these rows: `from`, `from + step`, ... below `to`. */
  from: number;
  to: number;
  step: number;
  /** Undefined: each row once; else again and again for so long. */
  seconds?: number;
}

export interface JobResult {
  count: number;
  /** Answers that were errors. */
  errors: number;
  bytes: number;
  /** Milliseconds of each answer, sorted. */
  latencies: number[];
  /** Processor time of this process meanwhile, ms. */
  cpuMs: number;
}

/** An answer with an error begins with field 1. */
const errorTag = 0x0a;

async function run(job: Job): Promise<JobResult> {
  const requests = [...rowsOf(job)].map((index): Request => operations[job.operation](index));
  const connections = await Promise.all(
    Array.from({ length: job.connections }, () => Connection.open(job.port, job.files)),
  );
  const begun = performance.now();
  const cpu = process.cpuUsage();
  const end = job.seconds === undefined ? Number.POSITIVE_INFINITY : begun + job.seconds * 1000;
  const latencies: number[] = [];
  let next = 0;
  let errors = 0;
  let bytes = 0;
  const client = async (connection: Connection) => {
    for (;;) {
      const asked = performance.now();
      if (asked >= end || (job.seconds === undefined && next >= requests.length)) return;
      const { path, body } = requests[next++ % requests.length]!;
      bytes += await connection.ask(path, body);
      if (connection.first[0] === errorTag) errors += 1;
      latencies.push(performance.now() - asked);
    }
  };
  await Promise.all(connections.map(client));
  for (const connection of connections) connection.close();
  const { user, system } = process.cpuUsage(cpu);
  const sorted = latencies.sort((a, b) => a - b);
  return { count: sorted.length, errors, bytes, latencies: sorted, cpuMs: (user + system) / 1000 };
}

function* rowsOf({ from, to, step }: Job): Generator<number> {
  for (let index = from; index < to; index += step) yield index;
}

for await (const line of createInterface({ input: process.stdin })) {
  process.stdout.write(`${JSON.stringify(await run(JSON.parse(line) as Job))}\n`);
}
