import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Answer } from './mini-cc.js';
import { freeTcpPort } from './nats.js';
import { zipDirectory } from './zip.js';

/** `bin/standalone` without its set-up, as a process of its own, with apps in plain processes. */
export interface StandaloneProcess {
  /** What it has printed since its last start. */
  readonly output: string;
  /** Resolves when it says that it is ready. */
  start(): Promise<void>;
  readonly pid: number;
  /** Ends it as Ctrl-C does; gives the exit status. */
  interrupt(): Promise<number | null>;
  kill(): Promise<void>;
  /** A request of the client API. */
  call(method: string, path: string, body?: unknown): Promise<Answer>;
  uploadBits(guid: string, directory: string): Promise<void>;
  /** Ends it and removes its directory. */
  dispose(): Promise<void>;
}

const startLimitMs = 60_000;

export async function makeStandalone(): Promise<StandaloneProcess> {
  const home = await mkdtemp(join(tmpdir(), 'standalone-'));
  const routerPort = await freeTcpPort();
  let child: ChildProcess | undefined;
  let output = '';
  let target = { url: '', token: '' };

  const isAlive = () => child !== undefined && child.exitCode === null && child.signalCode === null;
  const request = async (method: string, path: string, init: RequestInit): Promise<Answer> => {
    const headers = { ...init.headers, Authorization: `bearer ${target.token}` };
    const response = await fetch(`${target.url}${path}`, { ...init, method, headers });
    const text = await response.text();
    return { status: response.status, headers: response.headers, body: text.startsWith('{') ? JSON.parse(text) : {} };
  };

  return {
    get output() {
      return output;
    },
    async start() {
      output = '';
      const { XDG_RUNTIME_DIR: _unused, ...environment } = process.env;
      const options = ['--data', join(home, 'data'), '--engine', 'process', '--router-port', String(routerPort)];
      const started = spawn(process.execPath, ['dist/standalone/main.js', ...options], {
        env: { ...environment, HOME: home },
        stdio: ['ignore', 'pipe', 'pipe'],
      });
      child = started;
      await new Promise<void>((resolve, reject) => {
        const fail = (reason: string) => reject(new Error(`standalone ${reason}: ${output}`));
        const timer = setTimeout(() => fail('is not ready'), startLimitMs);
        const listen = (chunk: Buffer) => {
          output += chunk.toString();
          if (!output.includes('Ready.')) return;
          clearTimeout(timer);
          resolve();
        };
        started.stdout!.on('data', listen);
        started.stderr!.on('data', listen);
        started.once('exit', () => fail('ended'));
      });
      target = JSON.parse(await readFile(join(home, '.isthmus', 'target.json'), 'utf8'));
    },
    get pid() {
      return child!.pid!;
    },
    async kill() {
      const exited = once(child!, 'exit');
      child!.kill('SIGKILL');
      await exited;
    },
    async interrupt() {
      const exited = once(child!, 'exit');
      child!.kill('SIGINT');
      const [status] = await exited;
      return status as number | null;
    },
    call: (method, path, body) =>
      request(method, path, {
        ...(body !== undefined && {
          body: JSON.stringify(body),
          headers: { 'Content-Type': 'application/json' },
        }),
      }),
    async uploadBits(guid, directory) {
      const form = new FormData();
      form.append('application', new Blob([await zipDirectory(directory)]), 'upload.zip');
      await request('PUT', `/v2/apps/${guid}/bits`, { body: form });
    },
    async dispose() {
      if (isAlive()) {
        child!.kill('SIGTERM');
        await once(child!, 'exit');
      }
      await rm(home, { recursive: true, force: true });
    },
  };
}
