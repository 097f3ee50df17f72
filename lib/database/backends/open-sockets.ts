import { once } from 'node:events';
import type { Socket } from 'node:net';

/** How long a server has for taking its leave. */
const graceMs = 500;

/** The sockets of a pool. The pool says goodbye on them, but a server that hangs does not answer. */
export class OpenSockets {
  readonly #sockets = new Set<Socket>();

  add(socket: Socket): void {
    this.#sockets.add(socket);
    socket.once('close', () => this.#sockets.delete(socket));
  }

  /** Resolves when all are closed: by the servers, or else by force. */
  async closed(): Promise<void> {
    const sockets = [...this.#sockets];
    const timer = setTimeout(() => {
      for (const socket of sockets) socket.destroy();
    }, graceMs);
    await Promise.all(sockets.map((socket) => socket.closed || once(socket, 'close')));
    clearTimeout(timer);
  }
}
