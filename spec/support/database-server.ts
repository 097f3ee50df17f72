import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmod, copyFile, readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Certificate } from './certificates.js';
import { eventually } from './eventually.js';
import type { ServerUser } from './template-directory.js';

/** A database server of its own, on the loopback. */
export interface DatabaseServer {
  readonly port: number;
  /** Makes an empty database. @returns its `database_connection_string` */
  createDatabase(): Promise<string>;
  /** Ends it at once, with all its processes. */
  kill(): Promise<void>;
  /** Brings it back after `kill`, with what was there. */
  restart(): Promise<void>;
  /** Lets it hang, with its connections open, until `resume`. */
  pause(): Promise<void>;
  resume(): Promise<void>;
}

export interface ServerProcessOptions {
  command: string;
  args: readonly string[];
  user: ServerUser;
  /** What it takes for the wish to end without waiting for its clients. */
  endSignal: NodeJS.Signals;
  /** Whether it answers. */
  isUp(): Promise<true>;
}

/** The process of a server, whichever it is at the moment, and those that it has started. */
export class ServerProcess {
  readonly #options: ServerProcessOptions;
  #child: ChildProcess | undefined;
  #exited: Promise<unknown> = Promise.resolve();
  #printed = '';

  constructor(options: ServerProcessOptions) {
    this.#options = options;
  }

  async start(): Promise<void> {
    const { command, user, isUp } = this.#options;
    // One that was killed may hold the directory for another moment.
    await eventually(
      async () => {
        if (!this.#isAlive()) this.#launch();
        return isUp();
      },
      { what: `an answer of ${command} as ${user.uid ?? 'this user'}`, timeoutMs: 20_000 },
    ).catch((error) => {
      throw new Error(`${command} does not start; run: bin/setup --for-tests\n${this.#printed}`, { cause: error });
    });
  }

  async stop(): Promise<void> {
    if (!this.#isAlive()) return;
    await this.signal('SIGCONT');
    this.#child!.kill(this.#options.endSignal);
    await this.#exited;
  }

  async kill(): Promise<void> {
    await this.signal('SIGKILL');
    await this.#exited;
  }

  async signal(signal: NodeJS.Signals): Promise<void> {
    for (const pid of await family(this.#child?.pid)) {
      try {
        process.kill(pid, signal);
      } catch {
        // Gone by itself.
      }
    }
  }

  #launch(): void {
    const { command, args, user } = this.#options;
    const child = spawn(command, args, { ...user, cwd: '/', stdio: ['ignore', 'pipe', 'pipe'] });
    for (const stream of [child.stdout, child.stderr]) {
      stream.on('data', (chunk) => {
        this.#printed = `${this.#printed}${chunk}`.slice(-4000);
      });
    }
    child.once('error', (error) => {
      this.#printed += error.message;
    });
    this.#child = child;
    this.#exited = once(child, 'exit').catch(() => {});
  }

  #isAlive(): boolean {
    return this.#child?.pid !== undefined && this.#child.exitCode === null && this.#child.signalCode === null;
  }
}

/** A process and its children, the parent first, so that it starts no other one. */
async function family(parent: number | undefined): Promise<number[]> {
  if (parent === undefined) return [];
  const pids = (await readdir('/proc')).filter((name) => /^\d+$/.test(name));
  const children = await Promise.all(pids.map(async (pid) => ((await parentOf(pid)) === parent ? [Number(pid)] : [])));
  return [parent, ...children.flat()];
}

async function parentOf(pid: string): Promise<number | undefined> {
  const stat = await readFile(`/proc/${pid}/stat`, 'latin1').catch(() => '');
  return Number(/\) \S (\d+)/.exec(stat)?.[1]);
}

/** `server.crt` and `server.key`, which nobody else may read. */
export async function copyCertificate({ certFile, keyFile }: Certificate, directory: string): Promise<void> {
  await copyFile(certFile, join(directory, 'server.crt'));
  await copyFile(keyFile, join(directory, 'server.key'));
  await chmod(join(directory, 'server.key'), 0o600);
}

type Stop = () => Promise<void>;
const shared = new Set<Stop>();

/** Starts a server at the first call; the end of the specs stops it (spec/support/hooks.ts). */
export function startedOnce<Server>(start: () => Promise<Server & { stop: Stop }>): () => Promise<Server> {
  let started: Promise<Server> | undefined;
  return () => {
    started ??= start().then((server) => {
      shared.add(async () => {
        started = undefined;
        await server.stop();
      });
      return server;
    });
    return started;
  };
}

/** Stops those that specs have shared. */
export async function stopSharedServers(): Promise<void> {
  const stops = [...shared];
  shared.clear();
  await Promise.all(stops.map((stop) => stop()));
}
