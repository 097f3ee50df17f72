import { spawn } from 'node:child_process';
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { connect as connectTcp, createServer } from 'node:net';
import { eventually } from './eventually.js';

export interface NatsServer {
  url: string;
  port: number;
  /** Ends the server, as an operator would. */
  stop(): Promise<void>;
  /** Ends it at once. */
  kill(): Promise<void>;
  /** Lets it hang, with its connections open, until `resume`. */
  pause(): void;
  resume(): void;
}

export interface NatsServerOptions {
  /** @default a free one */
  port?: number;
  user?: string;
  password?: string;
}

/** Starts a real `nats-server` on the loopback and waits until it answers. */
export async function startNats(options: NatsServerOptions = {}): Promise<NatsServer> {
  const port = options.port ?? (await freeTcpPort());
  const credentials = options.user ? ['--user', options.user, '--pass', options.password ?? ''] : [];
  const child = spawn('nats-server', ['-a', '127.0.0.1', '-p', String(port), ...credentials], { stdio: 'ignore' });
  const exited = once(child, 'exit');
  child.once('error', (error) => {
    throw new Error('nats-server cannot be started; run: bin/setup', { cause: error });
  });
  await eventually(() => answers(port), { what: 'an answer of nats-server' });
  const end = async (signal: NodeJS.Signals) => {
    child.kill(signal);
    // A paused server would not hear that it is to end.
    child.kill('SIGCONT');
    await exited;
  };
  return {
    port,
    url: `nats://127.0.0.1:${port}`,
    stop: () => end('SIGTERM'),
    kill: () => end('SIGKILL'),
    pause: () => void child.kill('SIGSTOP'),
    resume: () => void child.kill('SIGCONT'),
  };
}

/** A server greets whoever connects. */
async function answers(port: number): Promise<true | undefined> {
  const socket = connectTcp(port, '127.0.0.1');
  try {
    const [greeting] = (await once(socket, 'data')) as [Buffer];
    return greeting.toString().startsWith('INFO') || undefined;
  } finally {
    socket.destroy();
  }
}

/** A port of the loopback that nobody has at this moment. */
export async function freeTcpPort(): Promise<number> {
  const server = createServer();
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}
