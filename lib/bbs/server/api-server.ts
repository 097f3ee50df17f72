import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { createServer as createSecureServer } from 'node:https';
import type { AddressInfo, Socket } from 'node:net';
import type { AllowedClients } from '../../config/allowed-clients.js';
import type { Subject } from '../../http/certificate-subject.js';
import type { Identity } from '../../http/internal-tls.js';
import { errorData, type Logger } from '../../logging/logger.js';
import type { BbsError } from '../errors.js';
import {
  failedValidation,
  invalidRequest,
  resourceExists,
  unexpected,
  unknownError,
  unrecoverable,
} from '../errors.js';
import type { EventHub } from '../events/event-hub.js';
import { decode, encode, MalformedMessage } from '../messages/codec.js';
import { ErrorType, EventsByCellId } from '../messages/models.js';
import { OutsideFailure } from '../outside-failure.js';
import { requestIdOf, traceData } from '../request-id.js';
import { KeyTaken, TableMissing } from '../storage/store.js';
import { Admission } from './admission.js';
import { BodyBudget } from './body-budget.js';
import { EventStream } from './event-stream.js';
import { failedAnswer } from './handlers/evacuation-handlers.js';
import type { Answer } from './handlers/handler.js';
import type { Endpoint } from './handlers/handlers.js';
import { refusePlainHttp } from './plain-http.js';
import { announcedBytes, BodyTooLarge, readBody } from './request-body.js';
import { serverTls } from './tls.js';

export interface ApiServerOptions {
  host: string;
  /** 0 lets the system choose. */
  port: number;
  /** Undefined: plain HTTP. */
  tls: Identity | undefined;
  /** Absent: whoever has a certificate of the authority. */
  allowedClients?: AllowedClients | undefined;
  /** Larger bodies are refused. */
  maximumBodyBytes: number;
  /** Event streams at the same time; more are refused with status 503. */
  maximumStreams: number;
  /** A reader of events that is so far behind is cut off. */
  maximumStreamBytes: number;
  /** Between two signs of life on event streams, ms. */
  heartbeatMs: number;
  /** So long are requests waited for when the server stops, ms. */
  stopMs: number;
  /** A request was answered, or an event stream has ended. @param durationMs of streams undefined */
  onRequest?: (name: string, durationMs: number | undefined) => void;
  /** A message was read and is not valid. @param reason what it is answered */
  onInvalid?: (typeName: string, message: object, reason: string) => void;
  /** One line for each request, when somebody wants to know. */
  onAccess?: (request: IncomingMessage, response: ServerResponse, durationMs: number) => void;
  logger: Logger;
}

/** What is served: paths, and where events come from. */
export interface Api {
  endpoints: ReadonlyMap<string, readonly Endpoint[]>;
  events: EventHub;
}

type CallEndpoint = Extract<Endpoint, { handler: unknown }>;
type StreamEndpoint = Exclude<Endpoint, CallEndpoint>;

const protobuf = 'application/x-protobuf';
const keepAliveMs = 180_000;
const largestBodiesAtOnce = 4;
/** It names a cell. */
const longestSubscription = 64 * 1024;
/** Findings may be thousands. */
const longestLoggedError = 1000;

/**
 * The board's API over HTTP (docs/protocol/bbs.md §1): one message in, one message out, errors within the message. Until
 * it is given something to serve, it answers 503.
 */
export class ApiServer {
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  readonly #streams = new Set<EventStream>();
  readonly #admission: Admission | undefined;
  readonly #bodies: BodyBudget;
  #busy = 0;
  #onIdle: (() => void) | undefined;
  #api: Api | undefined;

  constructor(private readonly options: ApiServerOptions) {
    const { tls, allowedClients, maximumBodyBytes } = options;
    this.#bodies = new BodyBudget(largestBodiesAtOnce * maximumBodyBytes);
    this.#admission = allowedClients && new Admission(allowedClients, (...refused) => this.#logRefused(...refused));
    const settings = { keepAliveTimeout: 0, noDelay: true, keepAlive: true, keepAliveInitialDelay: keepAliveMs };
    const handle = (request: IncomingMessage, response: ServerResponse) => this.#handle(request, response);
    if (tls) {
      const server = createSecureServer({ ...settings, ...serverTls(tls) }, handle);
      refusePlainHttp(server);
      this.#server = server;
    } else {
      this.#server = createServer(settings, handle);
    }
    this.#server.on('connection', (socket: Socket) => {
      this.#sockets.add(socket);
      socket.once('close', () => this.#sockets.delete(socket));
    });
  }

  /** @throws when the port is taken, with the address in the text */
  async start(): Promise<void> {
    const { host, port } = this.options;
    this.#server.listen(port, host);
    await once(this.#server, 'listening');
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  serve(api: Api): void {
    this.#api = api;
  }

  get streamCount(): number {
    return this.#streams.size;
  }

  /** Those who follow events learn that they have to begin anew. */
  endStreams(): void {
    for (const stream of this.#streams) stream.end();
  }

  /** Takes no more, ends event streams, and waits for the requests that are being handled. Idempotent. */
  async stop(): Promise<void> {
    if (!this.#server.listening) return;
    const closed = once(this.#server, 'close');
    this.#server.close();
    this.endStreams();
    await this.#idle();
    // What the last answers are sent over closes by itself; the others have nothing to say any more.
    this.#server.closeIdleConnections();
    const timer = setTimeout(() => this.#cut(), 1000);
    await closed;
    clearTimeout(timer);
    this.#cut();
  }

  #cut(): void {
    for (const socket of this.#sockets) socket.destroy();
  }

  async #idle(): Promise<void> {
    if (this.#busy === 0) return;
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, this.options.stopMs);
      this.#onIdle = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }

  #handle(request: IncomingMessage, response: ServerResponse): void {
    // That the client is gone is learnt elsewhere; the error alone must not end the process.
    response.on('error', () => {});
    const endpoint = this.#find(request, response);
    if (!endpoint) return;
    this.#busy += 1;
    const begun = performance.now();
    const handled =
      'handler' in endpoint ? this.#call(endpoint, request, response) : this.#subscribe(endpoint, request, response);
    void handled
      .catch((error: unknown) => this.#fail(endpoint, request, response, error))
      .finally(() => this.#finish(endpoint, request, response, performance.now() - begun));
  }

  /** @returns undefined when the request has its answer already */
  #find(request: IncomingMessage, response: ServerResponse): Endpoint | undefined {
    if (this.#admission?.admits(request.socket) === false) {
      refuse(response, 403, 'this certificate may not ask here\n');
      return undefined;
    }
    const endpoints = this.#api?.endpoints.get(pathOf(request));
    const endpoint = endpoints?.find(({ route }) => route.method === request.method);
    if (endpoint) return endpoint;
    if (endpoints) refuse(response, 405, 'Method Not Allowed\n', { Allow: methodsOf(endpoints) });
    else if (this.#api) refuse(response, 404, '404 page not found\n');
    else refuse(response, 503);
    return undefined;
  }

  #logRefused({ commonNames, organizationalUnits }: Subject, { remoteAddress }: Socket): void {
    this.options.logger.warn('bbs.client.not-allowed', {
      remote_address: remoteAddress,
      common_names: commonNames,
      organizational_units: organizationalUnits,
    });
  }

  #finish(endpoint: Endpoint, request: IncomingMessage, response: ServerResponse, durationMs: number): void {
    this.#busy -= 1;
    if (this.#busy === 0) this.#onIdle?.();
    const { logger, onRequest } = this.options;
    if ('handler' in endpoint) onRequest?.(endpoint.name, durationMs);
    logger.debug('bbs.request.done', {
      route: endpoint.name,
      duration_ms: Math.round(durationMs * 1000) / 1000,
      ...traceData(requestIdOf(request)),
    });
    this.options.onAccess?.(request, response, durationMs);
  }

  async #call(endpoint: CallEndpoint, request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { route } = endpoint;
    const { maximumBodyBytes } = this.options;
    if (!route.request) {
      request.resume();
      return this.#carryOut(endpoint, request, response, undefined);
    }
    const release = await this.#bodies.take(announcedBytes(request, maximumBodyBytes));
    try {
      await this.#carryOut(endpoint, request, response, await readBody(request, maximumBodyBytes));
    } finally {
      release();
    }
  }

  async #carryOut(
    endpoint: CallEndpoint,
    request: IncomingMessage,
    response: ServerResponse,
    body: Buffer | undefined,
  ): Promise<void> {
    const { route, handler } = endpoint;
    const message = body ? read(route, body) : {};
    const refuse = (error: BbsError) => this.#reply(endpoint, request, response, failedAnswer(endpoint.name, error));
    if (message === undefined) return refuse(invalidRequest);
    const findings = route.findings(message);
    if (findings.length > 0) {
      const error = failedValidation(findings);
      if (route.request) this.options.onInvalid?.(route.request.name, message, error.message);
      return refuse(error);
    }
    const answered = handler(message, requestIdOf(request));
    this.#reply(endpoint, request, response, answered instanceof Promise ? await answered : answered);
  }

  /** What nobody foresaw is told in short, and logged in full. */
  #fail(endpoint: Endpoint, request: IncomingMessage, response: ServerResponse, error: unknown): void {
    const { logger } = this.options;
    if (response.destroyed || response.headersSent) {
      response.destroy();
      return;
    }
    if (!('handler' in endpoint)) {
      refuse(response, 500);
      return;
    }
    if (error instanceof BodyTooLarge) response.setHeader('Connection', 'close');
    else if (!(error instanceof KeyTaken))
      logger.error('bbs.request.failed', {
        route: endpoint.name,
        ...traceData(requestIdOf(request)),
        ...errorData(error),
      });
    this.#reply(endpoint, request, response, failedAnswer(endpoint.name, errorOf(error)));
  }

  /** What is refused is worth a line; that something is not there, or is there already, is so in many a client's normal day. */
  #reply(endpoint: CallEndpoint, request: IncomingMessage, response: ServerResponse, fields: Answer<object>): void {
    if ('error' in fields && fields.error) {
      const { type, message } = fields.error as BbsError;
      const data = {
        route: endpoint.name,
        error: message.slice(0, longestLoggedError),
        ...traceData(requestIdOf(request)),
      };
      const { logger } = this.options;
      if (isUsual(type)) logger.debug('bbs.request.refused', data);
      else logger.info('bbs.request.refused', data);
    }
    answer(response, endpoint, fields);
  }

  async #subscribe({ name, route }: StreamEndpoint, request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { maximumBodyBytes, maximumStreams, maximumStreamBytes, heartbeatMs, onRequest } = this.options;
    const body = await readBody(request, Math.min(maximumBodyBytes, longestSubscription));
    const cellId = route.request ? decode(EventsByCellId, body).cellId : '';
    // Whoever comes after the streams were ended would never hear of it.
    if (this.#streams.size >= maximumStreams || !this.#server.listening) {
      refuse(response, 503);
      return;
    }
    const options = { response, revision: route.revision, cellId, maximumBytes: maximumStreamBytes, heartbeatMs };
    const stream = new EventStream(options, () => {
      unsubscribe();
      this.#streams.delete(stream);
      onRequest?.(name, undefined);
    });
    this.#streams.add(stream);
    const unsubscribe = this.#api!.events.subscribe(route.events, stream);
  }
}

/** @returns undefined for what is no message */
function read({ request: type, modernise }: CallEndpoint['route'], body: Buffer): object | undefined {
  if (!type) return {};
  try {
    const message = decode(type, body);
    return modernise ? modernise(message, body) : message;
  } catch (error) {
    if (error instanceof MalformedMessage) return undefined;
    throw error;
  }
}

function methodsOf(endpoints: readonly Endpoint[]): string {
  return endpoints.map(({ route }) => route.method).join(', ');
}

function answer(response: ServerResponse, { route }: CallEndpoint, fields: Answer<object>): void {
  const body = Buffer.isBuffer(fields) ? fields : encode(route.response, route.response.create(fields));
  response.writeHead(200, { 'Content-Type': protobuf, 'Content-Length': body.length });
  response.end(body);
}

function refuse(response: ServerResponse, status: number, text = '', headers: Record<string, string> = {}): void {
  const isText = text !== '';
  response.writeHead(status, {
    ...headers,
    ...(isText && { 'Content-Type': 'text/plain; charset=utf-8', 'X-Content-Type-Options': 'nosniff' }),
    'Content-Length': text.length,
  });
  response.end(text);
}

function pathOf({ url = '' }: IncomingMessage): string {
  const query = url.indexOf('?');
  return query === -1 ? url : url.slice(0, query);
}

function isUsual(type: ErrorType): boolean {
  return type === ErrorType.ResourceNotFound || type === ErrorType.ResourceExists;
}

function errorOf(error: unknown): BbsError {
  if (error instanceof BodyTooLarge) return failedValidation([error.message]);
  if (error instanceof KeyTaken) return resourceExists;
  if (error instanceof TableMissing) return unrecoverable(error.message);
  return error instanceof OutsideFailure ? unexpected(error.message) : unknownError;
}
