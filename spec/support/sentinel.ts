import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Redis } from 'ioredis';
import { eventually } from './eventually.js';
import { freeTcpPort } from './nats.js';

export interface SentinelOptions {
  /** Of the group. */
  name: string;
  primaryPort: number;
  /** How many replicas it must know before it is of use. */
  replicas: number;
}

/** Starts a Sentinel that makes a replica the primary half a second after that fell silent, and waits until it could. */
export async function startSentinel({ name, primaryPort, replicas }: SentinelOptions) {
  const port = await freeTcpPort();
  const directory = await mkdtemp(join(tmpdir(), 'sentinel-'));
  const file = join(directory, 'sentinel.conf');
  // It writes into its own configuration.
  await writeFile(
    file,
    [
      'bind 127.0.0.1',
      `port ${port}`,
      `dir ${directory}`,
      `sentinel monitor ${name} 127.0.0.1 ${primaryPort} 1`,
      `sentinel down-after-milliseconds ${name} 500`,
      `sentinel failover-timeout ${name} 3000`,
      '',
    ].join('\n'),
  );
  const child = spawn('redis-server', [file, '--sentinel'], { stdio: 'ignore' });
  const exited = once(child, 'exit');
  const client = new Redis(port, '127.0.0.1', { retryStrategy: () => 50, maxRetriesPerRequest: null });
  client.on('error', () => {});
  await eventually(
    async () => {
      const known = (await client.call('SENTINEL', 'replicas', name)) as unknown[];
      return known.length >= replicas ? true : undefined;
    },
    { what: 'the Sentinel', timeoutMs: 30_000 },
  );
  client.disconnect();
  return {
    port,
    async stop() {
      child.kill('SIGTERM');
      await exited;
      await rm(directory, { recursive: true, force: true });
    },
  };
}
