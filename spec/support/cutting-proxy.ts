import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';

/**
 * What becomes of a piece that a client sends: it is handed on; it is lost, with the connection; it is handed on, and
 * the connection breaks before there is an answer; or nothing goes through any more, and the connection stays.
 */
export type Fate = 'pass' | 'lose' | 'cut before the answer' | 'stall';

/** Between a client and a server: breaks connections when something in particular is said. */
export class CuttingProxy {
  /** Asked for each piece. @param connection is the same object for all pieces of one connection */
  decide: (piece: Buffer, connection: object) => Fate = () => 'pass';
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();

  /** @param targetPort of the server, on the loopback */
  static async start(targetPort: number): Promise<CuttingProxy> {
    const proxy = new CuttingProxy(targetPort);
    proxy.#server.listen(0, '127.0.0.1');
    await once(proxy.#server, 'listening');
    return proxy;
  }

  private constructor(private readonly targetPort: number) {
    this.#server = createServer({ allowHalfOpen: false }, (client) => this.#join(client));
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  /** Breaks all connections. */
  cut(): void {
    for (const socket of this.#sockets) socket.destroy();
  }

  /** Idempotent. */
  async stop(): Promise<void> {
    if (!this.#server.listening) return;
    const closed = once(this.#server, 'close');
    this.#server.close();
    this.cut();
    await closed;
  }

  #join(client: Socket): void {
    const server = connect(this.targetPort, '127.0.0.1');
    const connection = {};
    let isStalled = false;
    let isDeaf = false;
    for (const socket of [client, server]) {
      this.#sockets.add(socket);
      socket.setNoDelay(true);
      socket.on('error', () => {});
      socket.once('close', () => this.#sockets.delete(socket));
    }
    client.on('data', (piece: Buffer) => {
      if (isStalled || isDeaf) return;
      switch (this.decide(piece, connection)) {
        case 'pass':
          server.write(piece);
          return;
        case 'lose':
          client.destroy();
          server.destroy();
          return;
        case 'stall':
          isStalled = true;
          return;
        case 'cut before the answer':
          isDeaf = true;
          server.write(piece);
      }
    });
    server.on('data', (piece: Buffer) => {
      if (isStalled) return;
      if (!isDeaf) return void client.write(piece);
      client.destroy();
      server.destroy();
    });
    client.once('close', () => {
      // One that hangs looks alive from the other side.
      if (!isStalled) server.destroy();
    });
    server.once('close', () => {
      if (!isStalled) client.destroy();
    });
  }
}

/** Whether a piece is the commit of a transaction in which the board writes rows; to be asked of every piece. */
export function boardCommits(): (piece: Buffer, connection: object) => boolean {
  const writing = new WeakSet<object>();
  return (piece, connection) => {
    if (piece.includes('board_reign')) writing.add(connection);
    if (!piece.includes('COMMIT') || !writing.has(connection)) return false;
    writing.delete(connection);
    return true;
  };
}
