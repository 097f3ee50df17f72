import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';

/**
 * What becomes of the next commits that pass: whether the server gets it before the connection breaks; or it does not,
 * and the connection stays, as when the client is stopped there.
 */
export type Cut = 'before' | 'after' | 'held';

/** Stands between a client and a database server on the loopback, and breaks connections at the commit. */
export class CommitCutter {
  readonly #server = createServer((client) => this.#forward(client));
  readonly #sockets = new Set<Socket>();
  readonly #serverPort: number;
  #cuts: Cut[] = [];
  /** Commits that it has met. */
  commits = 0;

  constructor(serverPort: number) {
    this.#serverPort = serverPort;
  }

  /** @returns the port that it listens on */
  async start(): Promise<number> {
    this.#server.listen(0, '127.0.0.1');
    await once(this.#server, 'listening');
    return (this.#server.address() as AddressInfo).port;
  }

  /** Cuts the next commits in this way, one each. */
  cut(...cuts: Cut[]): void {
    this.#cuts = cuts;
  }

  async stop(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    this.#server.close();
    await once(this.#server, 'close');
  }

  #forward(client: Socket): void {
    const server = connect(this.#serverPort, '127.0.0.1');
    for (const socket of [client, server]) {
      this.#sockets.add(socket);
      socket.on('error', () => {});
      socket.once('close', () => this.#sockets.delete(socket));
    }
    let isCut = false;
    client.on('data', (bytes) => {
      if (!bytes.includes('COMMIT')) {
        server.write(bytes);
        return;
      }
      this.commits += 1;
      const cut = this.#cuts.shift();
      if (cut === undefined || cut === 'after') server.write(bytes);
      isCut = cut === 'before' || cut === 'after';
      if (cut === 'before') client.destroy();
    });
    // When the server answers, the commit is done.
    server.on('data', (bytes) => (isCut ? client.destroy() : client.write(bytes)));
    client.once('close', () => server.destroy());
    server.once('close', () => client.destroy());
  }
}
