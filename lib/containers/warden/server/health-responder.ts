import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { createServer, type Server, type Socket } from 'node:net';

const answer = 'HTTP/1.1 200 OK\r\n';
/** A client that says nothing is let go after so long. */
const silenceMs = 10_000;

/** Tells on a TCP port of the loopback that the server lives (docs/protocol/containers.md §1.7). */
export class HealthResponder {
  readonly #port: number;
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();

  /** @param port 0 lets the system choose */
  constructor(port: number) {
    this.#port = port;
    this.#server = createServer((socket) => this.#serve(socket));
  }

  /** @throws when the port is taken */
  async start(): Promise<void> {
    this.#server.listen(this.#port, '127.0.0.1');
    await once(this.#server, 'listening');
  }

  /** The port that was bound. @throws unless it was started */
  get port(): number {
    const address = this.#server.address() as AddressInfo | null;
    if (!address) throw new Error('not listening');
    return address.port;
  }

  /** Idempotent; cuts connections that are open. */
  async stop(): Promise<void> {
    if (!this.#server.listening) return;
    const closed = once(this.#server, 'close');
    this.#server.close();
    for (const socket of this.#sockets) socket.destroy();
    await closed;
  }

  /** Whatever is said is answered alike, once. */
  #serve(socket: Socket): void {
    this.#sockets.add(socket);
    socket.on('close', () => this.#sockets.delete(socket));
    socket.on('error', () => socket.destroy());
    socket.setTimeout(silenceMs, () => socket.destroy());
    socket.once('data', () => socket.end(answer, () => socket.destroySoon()));
  }
}
