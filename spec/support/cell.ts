import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import type { AddressInfo } from 'node:net';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { eventually } from './eventually.js';
import { takeNetwork, takePorts } from './host-share.js';
import { stackRootfs } from './stack.js';

export interface CellOptions {
  natsUrl: string;
  /** Merged over the default configuration, section by section. */
  config?: Record<string, unknown>;
}

export interface StartOptions {
  /** Directory of a build other than this one. */
  checkout?: string;
  /** @default 40000 */
  timeoutMs?: number;
}

/** A cell as a process of its own, started by `bin/dea` with a configuration of its own. */
export interface Cell {
  readonly baseDirectory: string;
  readonly configPath: string;
  readonly directoryServerPort: number;
  readonly fileApiPort: number;
  readonly pidFile: string;
  /** Every line that the present process has logged, parsed. */
  readonly logs: { message: string; log_level: string; data: Record<string, unknown> }[];
  readonly pid: number;
  start(options?: StartOptions): Promise<void>;
  /** Sends TERM and gives the exit status. */
  terminate(): Promise<number | null>;
  /** Sends KILL and waits until it is gone. */
  kill(): Promise<void>;
  signal(signal: NodeJS.Signals): void;
  /** Exit status once the process has ended. */
  readonly exited: Promise<number | null>;
  standardError(): string;
  snapshot(): Promise<{ instances: Record<string, unknown>[]; staging_tasks: Record<string, unknown>[] }>;
  /** Stops the cell if it runs, with all that it holds, and removes its files. */
  dispose(): Promise<void>;
}

/** Prepares a cell in a directory of its own; `start()` runs it. */
export async function makeCell(options: CellOptions): Promise<Cell> {
  const baseDirectory = await mkdtemp(join(tmpdir(), 'cell-'));
  const [directoryServerPort, fileApiPort] = [await freePort(), await freePort()];
  const configPath = join(baseDirectory, 'dea.yml');
  const pidFile = join(baseDirectory, 'dea.pid');
  const ports = takePorts(400);
  const config = mergeSections(
    {
      base_dir: join(baseDirectory, 'base'),
      pid_filename: pidFile,
      index: 0,
      nats_servers: [options.natsUrl],
      domain: 'example.com',
      logging: { level: 'debug' },
      directory_server: {
        v2_port: directoryServerPort,
        file_api_port: fileApiPort,
        address: '127.0.0.1',
        streaming_timeout: 5,
      },
      stacks: [{ name: 'bookworm', package_path: stackRootfs() }],
      resources: { memory_mb: 4096, disk_mb: 16384 },
      intervals: { advertise: 1, heartbeat: 1 },
      staging: { enabled: true, memory_limit_mb: 256, disk_limit_mb: 512 },
      containers: {
        engine: 'oci',
        spares: 2,
        network_pool: takeNetwork(22),
        port_pool_start: ports.start,
        port_pool_size: ports.size,
      },
    },
    options.config ?? {},
  );
  await writeFile(configPath, JSON.stringify(config));

  let child: ChildProcess | undefined;
  let exited: Promise<number | null> = Promise.resolve(null);
  let standardError = '';
  const logs: Cell['logs'] = [];

  async function start({ checkout = '.', timeoutMs = 40_000 }: StartOptions = {}): Promise<void> {
    logs.length = 0;
    standardError = '';
    const started = spawn(resolve(checkout, 'bin/dea'), [configPath], { stdio: ['ignore', 'pipe', 'pipe'] });
    child = started;
    exited = once(started, 'exit').then(([code]) => code as number | null);
    started.stderr!.on('data', (chunk: Buffer) => {
      standardError += chunk.toString();
    });
    let rest = '';
    started.stdout!.on('data', (chunk: Buffer) => {
      const lines = (rest + chunk.toString()).split('\n');
      rest = lines.pop()!;
      for (const line of lines) logs.push(JSON.parse(line));
    });
    const ended = exited.then((status) => {
      throw new Error(`the cell ended with ${status}: ${standardError}`);
    });
    const ready = eventually(() => logs.find(({ message }) => message === 'Dea started'), {
      timeoutMs,
      what: 'the start of the cell',
    });
    ready.catch(() => {});
    ended.catch(() => {});
    await Promise.race([ready, ended]);
  }

  const isAlive = () => child !== undefined && child.exitCode === null && child.signalCode === null;

  return {
    baseDirectory,
    configPath,
    directoryServerPort,
    fileApiPort,
    pidFile,
    logs,
    get pid() {
      return child!.pid!;
    },
    get exited() {
      return exited;
    },
    standardError: () => standardError,
    start,
    async terminate() {
      child!.kill('SIGTERM');
      return exited;
    },
    async kill() {
      child!.kill('SIGKILL');
      await exited;
    },
    signal: (signal) => child!.kill(signal),
    async snapshot() {
      return JSON.parse(await readFile(join(baseDirectory, 'base/db/instances.json'), 'utf8'));
    },
    async dispose() {
      // Containers outlive a killed cell: only one that stops in order gives everything back.
      const hasStoppedInOrder = child?.exitCode === 0;
      if (!isAlive() && !hasStoppedInOrder && existsSync(join(baseDirectory, 'base'))) await start().catch(() => {});
      if (isAlive()) {
        child!.kill('SIGTERM');
        await exited;
      }
      await rm(baseDirectory, { recursive: true, force: true });
    },
  };
}

function mergeSections(base: Record<string, unknown>, over: Record<string, unknown>): Record<string, unknown> {
  const merged = { ...base };
  for (const [key, value] of Object.entries(over)) {
    const isSection = (candidate: unknown): candidate is Record<string, unknown> =>
      typeof candidate === 'object' && candidate !== null && !Array.isArray(candidate);
    const present = base[key];
    merged[key] = isSection(present) && isSection(value) ? { ...present, ...value } : value;
  }
  return merged;
}

/** A TCP port of the loopback that nobody listens on at this moment. */
export async function freePort(): Promise<number> {
  const server = createServer();
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}
