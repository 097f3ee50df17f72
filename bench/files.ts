import { type ChildProcessByStdio, execFile, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { appendFile, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import type { IncomingMessage } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Readable, Writable } from 'node:stream';
import { setTimeout as delay } from 'node:timers/promises';
import { promisify } from 'node:util';
import { build } from 'esbuild';
import { signedUrl } from '../lib/dea/files/signed-url.js';
import { ask } from '../spec/support/http-client.js';
import { type Figure, median } from './figure.js';
import { Nginx } from './nginx.js';
import { processCost } from './process-cost.js';

const sizes = [
  { title: '10 kB', bytes: 10_000, connections: 8 },
  { title: '1 MB', bytes: 1_000_000, connections: 4 },
  { title: '100 MB', bytes: 100_000_000, connections: 2 },
];
const rounds = 3;
const secondsPerRound = 3;
const tails = 1000;
const idleSeconds = 10;
const singleLines = 40;

/** What file access costs: files against nginx on the same files in the same minute, and a thousand tails at once. */
export async function benchFiles(): Promise<Figure[]> {
  const bench = await FilesBench.start();
  try {
    // First, while the server has not grown by anything else.
    const figures = await bench.measureTails();
    for (const size of sizes) figures.push(...(await bench.measureFile(size)));
    return figures;
  } finally {
    await bench.stop();
  }
}

class FilesBench {
  private constructor(
    private readonly directory: string,
    private readonly key: string,
    private readonly server: ChildProcessByStdio<Writable, Readable, null>,
    private readonly port: number,
    private readonly nginx: Nginx,
  ) {}

  static async start(): Promise<FilesBench> {
    const directory = await mkdtemp(join(tmpdir(), 'bench-files-'));
    // As deep below the root as files of a container are.
    const root = join(directory, 'cell/depot/container/rootfs');
    await mkdir(join(root, 'home/vcap/logs'), { recursive: true });
    const key = randomBytes(16).toString('hex');
    const server = spawn(process.execPath, [await builtServer(directory), root, key], {
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    const [line] = (await once(server.stdout, 'data')) as [Buffer];
    const nginx = await Nginx.start(join(root, 'home/vcap'));
    return new FilesBench(join(root, 'home/vcap'), key, server, Number(line.toString()), nginx);
  }

  async measureFile(size: (typeof sizes)[number]): Promise<Figure[]> {
    await writeFile(join(this.directory, 'logs/file.log'), randomBytes(size.bytes));
    const nginxUrl = `http://127.0.0.1:${this.nginx.port}/logs/file.log`;
    const nginxPid = await this.nginx.workerPid();
    const [ours, nginx]: [Served[], Served[]] = [[], []];
    for (let round = 0; round < rounds; round += 1) {
      nginx.push(await served(nginxUrl, size.connections, nginxPid));
      ours.push(await served(this.url('/logs/file.log'), size.connections, this.server.pid!));
    }
    const rate = (rounds: Served[]) => median(rounds.map(({ requestsPerSecond }) => requestsPerSecond));
    const cost = (rounds: Served[]) => median(rounds.map(({ cpuMicroseconds }) => cpuMicroseconds));
    const megabytes = (requests: number) => (requests * size.bytes) / 1e6;
    const { title } = size;
    return [
      { name: `nginx, file of ${title}`, value: megabytes(rate(nginx)), unit: 'MB/s', target: '' },
      { name: `directory server, file of ${title}`, value: megabytes(rate(ours)), unit: 'MB/s', target: '' },
      {
        name: `directory server against nginx, file of ${title}`,
        value: rate(ours) / rate(nginx),
        unit: 'x',
        target: '>= 0.5',
      },
      { name: `processor time of nginx for a file of ${title}`, value: cost(nginx), unit: 'us', target: '' },
      { name: `processor time of the directory server for it`, value: cost(ours), unit: 'us', target: '' },
    ];
  }

  async measureTails(): Promise<Figure[]> {
    const before = await processCost(this.server.pid!);
    const names = Array.from({ length: tails }, (_, index) => `/logs/tail-${index}.log`);
    for (const name of names) await writeFile(join(this.directory, name), '');
    const responses: IncomingMessage[] = [];
    for (const name of names) {
      const { port, pathname, search } = new URL(`${this.url(name)}&tail`);
      responses.push(await ask({ port: Number(port), path: pathname + search }));
    }
    const write = async (index: number) => {
      const begun = performance.now();
      const arrival = once(responses[index]!, 'data');
      await appendFile(join(this.directory, names[index]!), 'a line of a log\n');
      await arrival;
      return performance.now() - begun;
    };
    await delay(2000);
    const idleFrom = await processCost(this.server.pid!);
    await delay(idleSeconds * 1000);
    const idleTo = await processCost(this.server.pid!);
    const single: number[] = [];
    for (let line = 0; line < singleLines; line += 1) single.push(await write(line * 25));
    const all = Math.max(...(await Promise.all(names.map((_, index) => write(index)))));
    const after = await processCost(this.server.pid!);
    for (const response of responses) response.destroy();
    return [
      {
        name: `idle CPU with ${tails} tails`,
        value: (100 * (idleTo.cpuSeconds - idleFrom.cpuSeconds)) / idleSeconds,
        unit: '% of a core',
        target: '< 10',
      },
      {
        name: 'memory per tail',
        value: (after.residentBytes - before.residentBytes) / tails / 1024,
        unit: 'KiB',
        target: '< 100',
      },
      { name: `line of one of ${tails} tails until it arrives`, value: median(single), unit: 'ms', target: '< 100' },
      { name: `a line in each of ${tails} tails until the last arrives`, value: all, unit: 'ms', target: '< 2000' },
    ];
  }

  async stop(): Promise<void> {
    await this.nginx.stop();
    const ended = once(this.server, 'exit');
    this.server.stdin.end();
    await ended;
    await rm(this.directory.replace(/\/cell\/.*/, ''), { recursive: true });
  }

  private url(path: string): string {
    return signedUrl({
      protocol: 'http',
      host: `127.0.0.1:${this.port}`,
      key: this.key,
      urlPath: '/instance_paths/i',
      filePath: path,
      timestamp: Math.floor(Date.now() / 1000),
    });
  }
}

/** Programs run as built code, not as sources that are translated on the way. */
async function builtServer(directory: string): Promise<string> {
  const script = new URL('file-server-process.ts', import.meta.url).pathname;
  const outfile = join(directory, 'file-server-process.mjs');
  await build({ entryPoints: [script], outfile, bundle: true, platform: 'node', format: 'esm', target: 'node20' });
  return outfile;
}

/** What a server did in a round. */
interface Served {
  requestsPerSecond: number;
  /** Processor time of one request, of the program and of the kernel for it. */
  cpuMicroseconds: number;
}

/** As wrk counts them, over connections that stay open. @throws when an answer was no success */
async function served(url: string, connections: number, pid: number): Promise<Served> {
  const args = ['--threads', '1', '--connections', String(connections), '--duration', `${secondsPerRound}s`];
  const before = await processCost(pid);
  const { stdout } = await promisify(execFile)('wrk', [...args, '--timeout', '30s', url]);
  const after = await processCost(pid);
  if (/Non-2xx|Socket errors/.test(stdout)) throw new Error(stdout);
  const requests = Number(/(\d+) requests in/.exec(stdout)![1]);
  return {
    requestsPerSecond: Number(/Requests\/sec:\s+([\d.]+)/.exec(stdout)![1]),
    cpuMicroseconds: (1e6 * (after.cpuSeconds - before.cpuSeconds)) / requests,
  };
}
