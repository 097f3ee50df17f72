import { createServer, type Server, type Socket } from 'node:net';
import { listenOnSocket, type SocketPlace } from '../../unix-socket.js';

export interface SocketListenerOptions {
  place: SocketPlace;
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
    await listenOnSocket(this.#server, this.#options.place);
  }

  /** Accepts no more connections, and removes the socket; those that are open stay. Idempotent. */
  stop(): void {
    if (this.#server.listening) this.#server.close();
  }
}
