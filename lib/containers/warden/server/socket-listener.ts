import { once } from 'node:events';
import { chmod, lstat, unlink } from 'node:fs/promises';
import { connect, createServer, type Server, type Socket } from 'node:net';

export interface SocketListenerOptions {
  /** A UNIX socket; one that nobody listens on any more is replaced. */
  path: string;
  /** Permission bits of the socket. */
  mode: number;
  onConnection: (socket: Socket) => void;
}

/** A listening UNIX socket. */
export class SocketListener {
  readonly #options: SocketListenerOptions;
  readonly #server: Server;

  constructor(options: SocketListenerOptions) {
    this.#options = options;
    this.#server = createServer({ allowHalfOpen: true }, options.onConnection);
  }

  /** @throws when another process listens there, or something else has that name */
  async start(): Promise<void> {
    const { path, mode } = this.#options;
    await removeStaleSocket(path);
    this.#server.listen(path);
    await once(this.#server, 'listening');
    await chmod(path, mode);
  }

  /** Accepts no more connections, and removes the socket; those that are open stay. Idempotent. */
  stop(): void {
    if (this.#server.listening) this.#server.close();
  }
}

async function removeStaleSocket(path: string): Promise<void> {
  const status = await lstat(path).catch(() => undefined);
  if (!status) return;
  if (!status.isSocket()) throw new Error(`${path} exists and is no socket`);
  if (await isAnswered(path)) throw new Error(`another process listens on ${path}`);
  await unlink(path);
}

function isAnswered(path: string): Promise<boolean> {
  return new Promise((resolve, reject) => {
    const socket = connect(path);
    socket.on('connect', () => {
      socket.destroy();
      resolve(true);
    });
    socket.on('error', (error: NodeJS.ErrnoException) => {
      if (error.code === 'ECONNREFUSED' || error.code === 'ENOENT') resolve(false);
      else reject(error);
    });
  });
}
