import { once } from 'node:events';
import { createServer as createHttpServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { type AddressInfo, createServer, type Server as NetServer, type Socket } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { errorData, type Logger } from '../../../logging/logger.js';
import type { ContainerEngine } from '../../engine.js';
import { listenOnSocket, type SocketPlace } from '../../unix-socket.js';
import { ServiceUnavailableError } from '../messages/errors.js';
import { matchRoute, type RouteName } from '../routes.js';
import { Catalogue } from './catalogue.js';
import { type ContainerRoute, containerHandlers } from './container-handlers.js';
import { Exchange } from './exchange.js';
import { streamIn, streamOut } from './file-handlers.js';
import { GatedConnection } from './gated-connection.js';
import { ProcessHandlers } from './process-handlers.js';
import { maximumHeadBytes } from './request-framer.js';
import type { GardenSettings } from './settings.js';

/** Where a server listens; sockets have mode 0660 unless another one is given. */
export type GardenAddress =
  | ({ kind: 'unix' } & Partial<SocketPlace> & Pick<SocketPlace, 'path'>)
  | { kind: 'tcp'; host: string /** 0 lets the system choose. */; port: number };

export interface GardenServerOptions extends GardenSettings {
  engine: ContainerEngine;
  addresses: GardenAddress[];
  /** A request's head must be complete within this time. @default no limit */
  readHeaderTimeoutMs?: number | undefined;
  logger: Logger;
}

type Handler = (exchange: Exchange) => Promise<void>;

const defaultSocketMode = 0o660;
const keepAliveDelayMs = 15_000;
/** Longer than any verb takes that does not wait for its client. */
const stopPatienceMs = 60_000;

/**
 * The Garden API over a container engine (docs/protocol/containers.md, Part 2).
 *
 *   (new) -- listen --> requests wait -- open --> requests are answered -- stop --> (gone)
 */
export class GardenServer {
  readonly #options: GardenServerOptions;
  readonly #processes: ProcessHandlers;
  readonly #handlers: Record<RouteName, Handler>;
  readonly #http: Server;
  readonly #listeners: NetServer[] = [];
  readonly #connections = new Set<GatedConnection>();
  readonly #handling = new Set<Promise<void>>();
  readonly #opened: Promise<void>;
  #settleOpened: () => void = () => {};
  #requestCount = 0;
  #isOpen = false;
  #isStopping = false;

  private constructor(options: GardenServerOptions) {
    const { engine } = options;
    this.#options = options;
    this.#processes = new ProcessHandlers(engine, { forgetsDelivered: options.forgetsDelivered ?? false });
    this.#handlers = {
      ...asHandlers(containerHandlers(engine, new Catalogue(engine, options))),
      streamIn: (exchange) => streamIn(engine, exchange),
      streamOut: (exchange) => streamOut(engine, exchange),
      run: (exchange) => this.#processes.run(exchange),
      attach: (exchange) => this.#processes.attach(exchange),
      stdout: (exchange) => this.#processes.serveOutput(exchange, 'stdout'),
      stderr: (exchange) => this.#processes.serveOutput(exchange, 'stderr'),
    };
    this.#opened = new Promise((resolve) => {
      this.#settleOpened = resolve;
    });
    this.#http = createHttpServer({ maxHeaderSize: maximumHeadBytes, keepAliveTimeout: 0 });
    this.#http.on('request', (request, response) => this.#receive(request, response));
  }

  static create(options: GardenServerOptions): GardenServer {
    return new GardenServer(options);
  }

  /** Accepts connections; requests wait until `open`. @throws when an address is taken */
  async listen(): Promise<void> {
    for (const address of this.#options.addresses) this.#listeners.push(await this.#listenOn(address));
  }

  /** Begins to answer. */
  open(): void {
    this.#isOpen = true;
    this.#settleOpened();
  }

  /** Of clients, at this moment. */
  get connectionCount(): number {
    return this.#connections.size;
  }

  /** Requests that came since the start. */
  get requestCount(): number {
    return this.#requestCount;
  }

  /** The TCP port that was bound, if any. */
  get port(): number | undefined {
    const addresses = this.#listeners.map((listener) => listener.address());
    return addresses.find((address): address is AddressInfo => typeof address === 'object')?.port;
  }

  /**
   * Listens no more, leaves the processes' clients, lets running requests come to their end. Idempotent. Containers and
   * processes live on.
   */
  async stop(): Promise<void> {
    this.#isStopping = true;
    this.#settleOpened();
    const closing = this.#listeners.map((listener) => closed(listener));
    this.#processes.closeConnections();
    for (const connection of this.#connections) {
      if (connection.isIdle) connection.destroy();
    }
    await this.#answered();
    await this.#processes.stop();
    for (const connection of this.#connections) connection.destroy();
    await Promise.all(closing);
  }

  /** Running requests have ended, or their clients kept them up for too long. */
  async #answered(): Promise<void> {
    const patience = new AbortController();
    await Promise.race([
      Promise.allSettled(this.#handling),
      delay(stopPatienceMs, undefined, { signal: patience.signal }).catch(() => {}),
    ]);
    patience.abort();
  }

  async #listenOn(address: GardenAddress): Promise<NetServer> {
    const listener = createServer({ allowHalfOpen: true }, (socket) => this.#accept(socket));
    if (address.kind === 'tcp') {
      listener.listen(address.port, address.host);
      await once(listener, 'listening');
      return listener;
    }
    await listenOnSocket(listener, { mode: defaultSocketMode, ...address });
    return listener;
  }

  #accept(socket: Socket): void {
    // A client whose host is gone must not refer to its container for ever.
    socket.setKeepAlive(true, keepAliveDelayMs).setNoDelay(true);
    const connection = new GatedConnection({ socket, headTimeoutMs: this.#options.readHeaderTimeoutMs });
    this.#connections.add(connection);
    connection.once('close', () => this.#connections.delete(connection));
    this.#http.emit('connection', connection);
  }

  #receive(request: IncomingMessage, response: ServerResponse): void {
    const connection = request.socket as unknown as GatedConnection;
    this.#requestCount += 1;
    if (this.#isStopping) response.shouldKeepAlive = false;
    response.once('finish', () => connection.next());
    // A client that leaves in the middle shows elsewhere; it must not end the program.
    response.on('error', () => {});
    const handling = this.#handle(request, response, connection)
      .catch((error: unknown) => {
        this.#options.logger.error('garden.request-failed', { url: request.url, ...errorData(error) });
        response.destroy();
      })
      .finally(() => this.#handling.delete(handling));
    this.#handling.add(handling);
  }

  async #handle(request: IncomingMessage, response: ServerResponse, connection: GatedConnection): Promise<void> {
    const { method = '', url = '' } = request;
    const [path = '', ...queries] = url.split('?');
    const match = matchRoute(method, path);
    const parameters = match.kind === 'found' ? match.parameters : {};
    const query = new URLSearchParams(queries.join('?'));
    const exchange = new Exchange({ request, response, connection, parameters, query });
    if (match.kind === 'not found') return exchange.answerText('404 page not found\n', 404);
    if (match.kind === 'method not allowed') {
      return exchange.answerText('Method Not Allowed\n', 405, { Allow: match.allowed.join(', ') });
    }
    await this.#opened;
    try {
      if (!this.#isOpen) throw new ServiceUnavailableError('the server is stopping');
      await this.#handlers[match.name](exchange);
    } catch (error) {
      this.#options.logger.info('garden.refused', { route: match.name, ...parameters, ...errorData(error) });
      exchange.fail(error);
    }
  }
}

function asHandlers(answers: ReturnType<typeof containerHandlers>): Record<ContainerRoute, Handler> {
  const entries = Object.entries(answers).map(([name, answer]) => {
    const handler: Handler = async (exchange) => exchange.answer(await answer(exchange));
    return [name, handler];
  });
  return Object.fromEntries(entries) as Record<ContainerRoute, Handler>;
}

function closed(listener: NetServer): Promise<void> {
  return new Promise((resolve) => void listener.close(() => resolve()));
}
