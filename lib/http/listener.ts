import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

export interface HttpListenerOptions {
  /** Address to listen on. */
  host: string;
  /** 0 lets the system choose. */
  port: number;
  /** Answers a request; when it rejects, the connection is cut. */
  handle(request: IncomingMessage, response: ServerResponse): Promise<void>;
}

/** An HTTP server that stops for good: with its connections, and with the requests that are being handled. */
export class HttpListener {
  private readonly server: Server;
  private readonly handling = new Set<Promise<void>>();

  constructor(private readonly options: HttpListenerOptions) {
    this.server = createServer((request, response) => {
      // A client that leaves is learnt of by the response's closing; the error alone must not end the process.
      response.on('error', () => {});
      const handled = options
        .handle(request, response)
        .catch(() => void response.destroy())
        .finally(() => this.handling.delete(handled));
      this.handling.add(handled);
    });
  }

  /** @throws when the port is taken, with the address in the text */
  async start(): Promise<void> {
    const { host, port } = this.options;
    this.server.listen(port, host);
    await once(this.server, 'listening');
  }

  /** The port that was bound. @throws unless the listener was started */
  get port(): number {
    const address = this.server.address() as AddressInfo | null;
    if (!address) throw new Error('not listening');
    return address.port;
  }

  /** Idempotent; cuts what is in flight. */
  async stop(): Promise<void> {
    if (this.server.listening) {
      const closed = once(this.server, 'close');
      this.server.close();
      this.server.closeAllConnections();
      await closed;
    }
    await Promise.all(this.handling);
  }
}
