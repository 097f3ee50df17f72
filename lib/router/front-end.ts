import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Duplex } from 'node:stream';
import { errorData, type Logger } from '../logging/logger.js';
import { waitUntil } from '../process/wait.js';
import { badRequest } from './proxy/malformed-request.js';

export interface FrontEndOptions {
  host: string;
  /** 0 lets the system choose. */
  port: number;
  /** Takes another free port when `port` is taken. */
  portFallback: boolean;
  /** Of a request's line and headers together. */
  maximumHeaderBytes: number;
  /** How long a connection may wait for its next request. */
  idleTimeoutMs: number;
  /** How long requests may take to end when the front end stops. */
  drainTimeoutMs: number;
  /** Has to ask for a body that the client holds back (`Expect: 100-continue`). */
  handle(request: IncomingMessage, response: ServerResponse): void;
  /** Requests for another protocol; without it they are ordinary ones. */
  handleUpgrade?(request: IncomingMessage, socket: Duplex, head: Buffer): void;
  logger: Logger;
}

/** An HTTP server that tells malformed requests so, and that stops with all its connections. */
export class FrontEnd {
  private readonly server: Server;
  /** Those that left HTTP behind: the server does not know them any more. */
  private readonly upgraded = new Set<Duplex>();
  /** The last answer of each connection that is still to be given. */
  private readonly answering = new WeakMap<Duplex, ServerResponse>();

  constructor(private readonly options: FrontEndOptions) {
    this.server = createServer({
      maxHeaderSize: options.maximumHeaderBytes,
      keepAliveTimeout: options.idleTimeoutMs,
      // Uploads take as long as they take.
      requestTimeout: 0,
      // What is missing or wrong is answered in upstream's words.
      requireHostHeader: false,
      keepAlive: true,
      keepAliveInitialDelay: 60_000,
      noDelay: true,
    });
    // Headers beyond a number would be dropped in silence; their size is limited already.
    this.server.maxHeadersCount = 0;
    this.server.on('request', (request, response) => this.take(request, response));
    // Whoever handles the request asks for its body, or does not.
    this.server.on('checkContinue', (request, response) => this.take(request, response));
    if (options.handleUpgrade) {
      this.server.on('upgrade', (request, socket, head) => this.takeUpgrade(request, socket, head));
    }
    this.server.on('clientError', (error: NodeJS.ErrnoException, socket) => this.refuse(error, socket));
  }

  /** The port that was bound. @throws unless started */
  get port(): number {
    const address = this.server.address() as AddressInfo | null;
    if (!address) throw new Error('not listening');
    return address.port;
  }

  /** @throws when the port is taken and there is no fallback, with the address in the text */
  async start(): Promise<void> {
    const { host, port, portFallback, logger } = this.options;
    try {
      await this.listen(host, port);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EADDRINUSE' || !portFallback) throw error;
      await this.listen(host, 0);
      logger.warn('port-taken', { wanted: port, taken: this.port });
    }
    this.server.on('error', (error) => logger.error('http.server.error', errorData(error)));
  }

  /** Takes no new connections, gives requests their time to end, and closes what is left. Idempotent. */
  async stop(): Promise<void> {
    if (!this.server.listening) return;
    const { drainTimeoutMs } = this.options;
    let isClosed = false;
    const closed = once(this.server, 'close').then(() => {
      isClosed = true;
    });
    this.server.close();
    for (const socket of this.upgraded) socket.destroy();
    await waitUntil(
      () => {
        this.server.closeIdleConnections();
        return isClosed;
      },
      { timeoutMs: drainTimeoutMs },
    );
    this.server.closeAllConnections();
    for (const socket of this.upgraded) socket.destroy();
    await closed;
  }

  /** Requests of one connection are handled one after the other, also when they came at once. */
  private take(request: IncomingMessage, response: ServerResponse): void {
    const { socket } = request;
    const previous = this.answering.get(socket);
    this.answering.set(socket, response);
    response.once('close', () => {
      if (this.answering.get(socket) === response) this.answering.delete(socket);
    });
    const handle = () => {
      if (!socket.destroyed) this.options.handle(request, response);
    };
    if (previous) previous.once('close', handle);
    else handle();
  }

  private takeUpgrade(request: IncomingMessage, socket: Duplex, head: Buffer): void {
    if (this.answering.has(socket)) {
      // The library has let the connection go, and the answers before this one cannot be given any more.
      socket.destroy();
      return;
    }
    this.upgraded.add(socket);
    socket.once('close', () => this.upgraded.delete(socket));
    this.options.handleUpgrade!(request, socket, head);
  }

  private async listen(host: string, port: number): Promise<void> {
    this.server.listen(port, host);
    await once(this.server, 'listening');
  }

  private refuse(error: NodeJS.ErrnoException, socket: Duplex): void {
    if (!socket.writable || this.answering.get(socket)?.headersSent) {
      socket.destroy();
      return;
    }
    socket.end(refusalOf(error.code), () => socket.destroy());
  }
}

/** Answers to what is no request at all (docs/protocol/edge.md §1.5, steps 3 and 9). */
function refusalOf(code: string | undefined): string {
  switch (code) {
    case 'HPE_HEADER_OVERFLOW':
      return 'HTTP/1.1 431 Request Header Fields Too Large\r\nX-Cf-RouterError: max-request-size-exceeded\r\nContent-Length: 0\r\nConnection: close\r\n\r\n';
    case 'HPE_INVALID_VERSION':
      return 'HTTP/1.0 400 Bad Request\r\n\r\n';
    case 'ERR_HTTP_REQUEST_TIMEOUT':
      return 'HTTP/1.1 408 Request Timeout\r\nConnection: close\r\n\r\n';
    default:
      return badRequest('malformed request');
  }
}
