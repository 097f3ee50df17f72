import { once } from 'node:events';
import type { Socket } from 'node:net';
import type { DatabaseObserver } from '../database-observer.js';

/** How long a server has for taking its leave. */
const graceMs = 500;

/** The sockets of a pool. The pool says goodbye on them, but a server that hangs does not answer. */
export class OpenSockets {
  readonly #sockets = new Set<Socket>();

  constructor(private readonly observer: DatabaseObserver | undefined) {}

  /** Of a connection that is there. */
  add(socket: Socket): void {
    this.#sockets.add(socket);
    this.observer?.connected();
    socket.once('close', () => {
      this.#sockets.delete(socket);
      this.observer?.disconnected();
    });
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
