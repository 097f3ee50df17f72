import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { createServer as createSecureServer } from 'node:https';
import type { AddressInfo, Socket } from 'node:net';
import type { TlsOptions } from 'node:tls';

/** Milliseconds that a client may take; what is slower is cut off. */
export interface HttpLimits {
  /** From the connection, or the end of the answer before, to the end of the headers. */
  headersMs: number;
  /** From the connection to the end of the body; also the TLS handshake. */
  requestMs: number;
  /** Connections at the same time; more are closed at once. */
  connections: number;
}

export interface HttpListenerOptions {
  /** Address to listen on. */
  host: string;
  /** 0 lets the system choose. */
  port: number;
  /** HTTPS with these keys and rules. @default HTTP */
  tls?: TlsOptions;
  /** @default those of Node, which are generous */
  limits?: HttpLimits;
  /** Answers a request; when it rejects, the connection is cut. */
  handle(request: IncomingMessage, response: ServerResponse): Promise<void>;
}

/** An HTTP or HTTPS server that stops for good: with its connections, and with the requests that are being handled. */
export class HttpListener {
  private readonly server: Server;
  private readonly handling = new Set<Promise<void>>();
  /** Node's own list lacks those in the middle of a TLS handshake. */
  private readonly sockets = new Set<Socket>();

  constructor(private readonly options: HttpListenerOptions) {
    const { tls, limits } = options;
    const settings = limits && {
      headersTimeout: limits.headersMs,
      requestTimeout: limits.requestMs,
      connectionsCheckingInterval: Math.min(1000, limits.headersMs),
    };
    this.server = tls
      ? createSecureServer({ ...settings, ...tls, ...(limits && { handshakeTimeout: limits.requestMs }) })
      : createServer({ ...settings });
    if (limits) this.server.maxConnections = limits.connections;
    this.server.on('connection', (socket: Socket) => {
      this.sockets.add(socket);
      socket.once('close', () => this.sockets.delete(socket));
    });
    this.server.on('request', (request: IncomingMessage, response: ServerResponse) => this.answer(request, response));
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
      for (const socket of this.sockets) socket.destroy();
      await closed;
    }
    await Promise.all(this.handling);
  }

  private answer(request: IncomingMessage, response: ServerResponse): void {
    // A client that leaves is learnt of by the response's closing; the error alone must not end the process.
    response.on('error', () => {});
    const handled = this.options
      .handle(request, response)
      .catch(() => void response.destroy())
      .finally(() => this.handling.delete(handled));
    this.handling.add(handled);
  }
}
