import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Redis } from 'ioredis';
import { eventually } from './eventually.js';
import { freeTcpPort } from './nats.js';

export interface RedisServer {
  url: string;
  port: number;
  /** Another client, for looking at what is there and for spoiling it. */
  readonly client: Redis;
  /** Ends the server, as an operator would, and removes its files. */
  stop(): Promise<void>;
  /** Ends it at once. */
  kill(): Promise<void>;
  /** Brings it back after `kill`, with other settings where given; empty unless it persists. */
  restart(settings?: Record<string, string>): Promise<void>;
  /** Lets it hang, with its connections open, until `resume`. */
  pause(): void;
  resume(): void;
}

export interface RedisServerOptions {
  /** Settings by their names in redis.conf. */
  settings?: Record<string, string>;
}

/** Starts a real `redis-server` on the loopback, with a directory of its own, and waits until it answers. */
export async function startRedis({ settings = {} }: RedisServerOptions = {}): Promise<RedisServer> {
  const port = await freeTcpPort();
  const directory = await mkdtemp(join(tmpdir(), 'redis-'));
  const all = { bind: '127.0.0.1', port: String(port), dir: directory, save: '', ...settings };
  const launch = (more: Record<string, string> = {}) => {
    const flags = Object.entries({ ...all, ...more }).flatMap(([name, value]) => [`--${name}`, value]);
    const child = spawn('redis-server', flags, { stdio: 'ignore' });
    child.once('error', (error) => {
      throw new Error('redis-server cannot be started; run: bin/setup', { cause: error });
    });
    return { child, exited: once(child, 'exit') };
  };
  let process = launch();
  const client = new Redis(port, '127.0.0.1', { retryStrategy: () => 50, maxRetriesPerRequest: null });
  // It is away when its server is.
  client.on('error', () => {});
  const end = async (signal: NodeJS.Signals) => {
    process.child.kill(signal);
    // A paused server would not hear that it is to end.
    process.child.kill('SIGCONT');
    await process.exited;
  };
  const answers = () => eventually(async () => (await client.ping()) === 'PONG' || undefined, { what: 'Redis' });
  await answers();
  return {
    port,
    url: `redis://127.0.0.1:${port}`,
    client,
    async stop() {
      client.disconnect();
      if (process.child.exitCode === null && process.child.signalCode === null) await end('SIGTERM');
      await rm(directory, { recursive: true, force: true });
    },
    kill: () => end('SIGKILL'),
    async restart(more) {
      process = launch(more);
      await answers();
    },
    pause: () => void process.child.kill('SIGSTOP'),
    resume: () => void process.child.kill('SIGCONT'),
  };
}
