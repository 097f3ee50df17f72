import { randomUUID } from 'node:crypto';
import {
  type ClientRequest,
  request as httpRequest,
  type IncomingMessage,
  type ServerResponse,
  STATUS_CODES,
} from 'node:http';
import type { Duplex } from 'node:stream';
import type { Logger } from '../logging/logger.js';
import type { AccessLog, AccessRecord } from './access-log.js';
import { DialError, dial } from './dial.js';
import { endpointFailure, failures, RouterFailure } from './failures.js';
import type { Endpoint } from './messages.js';
import { addressOf, type Pool, type Registry } from './registry.js';
import { headersForApp, headersForClient, valuesOf } from './request-headers.js';
import { stickyCookieFor, stickyInstanceId } from './sticky-session.js';

export interface ProxyOptions {
  registry: Registry;
  accessLog: AccessLog;
  maxAttempts: number;
  dialTimeoutMs: number;
  endpointTimeoutMs: number;
  /** How long a plain endpoint is left out after a failed dial. */
  ineligibleMs: number;
  certificateAuthorities?: string | undefined;
  logger: Logger;
}

const idempotentMethods = new Set(['GET', 'HEAD', 'OPTIONS', 'TRACE']);
const appInstancePattern = /^[\da-f]{8}-([\da-f]{4}-){3}[\da-f]{12}:\d+$/;

/** One request on its way through the router. */
interface Passage {
  request: IncomingMessage;
  host: string;
  requestId: string;
  startedMs: number;
  endpoint?: Endpoint;
  backendStartedMs?: number;
}

/** How requests are to be sent, once the route is known. */
interface Target {
  pool: Pool;
  /** Only this endpoint; undefined: any of the pool. */
  fixed: Endpoint | undefined;
  /** Tried first. */
  sticky: Endpoint | undefined;
  stickyId: string | undefined;
}

/** Forwards requests to the endpoints of their routes (docs/protocol/edge.md §1.5, §1.6). */
export class ReverseProxy {
  constructor(private readonly options: ProxyOptions) {}

  /** Handles an ordinary request; never rejects. */
  async handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const passage = this.open(request);
    let routerError: string | undefined;
    response.once('close', () =>
      this.log(passage, response.statusCode, response.socket?.bytesWritten ?? 0, routerError),
    );
    try {
      const target = this.route(passage);
      const answer = await this.exchange(passage, target);
      await this.relay(passage, target, answer, response);
    } catch (error) {
      const failure = error instanceof RouterFailure ? error : endpointFailure(error as NodeJS.ErrnoException);
      routerError = failure.reason;
      this.refuse(response, failure);
    }
  }

  /** Handles a request that asks for another protocol on its connection. */
  async handleUpgrade(request: IncomingMessage, socket: Duplex, head: Buffer): Promise<void> {
    const passage = this.open(request);
    socket.on('error', () => socket.destroy());
    try {
      if (request.headers.upgrade?.toLowerCase() !== 'websocket') throw failures.upgradeUnsupported();
      const target = this.route(passage);
      await this.upgrade(passage, target, socket, head);
    } catch (error) {
      const failure = error instanceof RouterFailure ? error : endpointFailure(error as NodeJS.ErrnoException);
      this.log(passage, failure.status, 0, failure.reason);
      socket.end(rawFailure(failure));
    }
  }

  private open(request: IncomingMessage): Passage {
    return { request, host: request.headers.host ?? '', requestId: randomUUID(), startedMs: Date.now() };
  }

  private route({ request, host }: Passage): Target {
    const name = host.replace(/:\d*$/, '');
    if (name === '') throw failures.emptyHost();
    const [path = '/'] = pathOf(request.url!).split('?');
    const pool = this.options.registry.lookup(name, path);
    const wantedInstance = request.headers['x-cf-app-instance'];
    const instance = typeof wantedInstance === 'string' ? parseAppInstance(wantedInstance) : undefined;
    if (!pool) throw failures.unknownRoute(host);
    const fixed =
      instance && pool.find(({ app, instanceIndex }) => app === instance.app && instanceIndex === instance.index);
    if (instance && !fixed) throw failures.unknownAppInstance(instance.index, instance.app, host);
    const stickyId = stickyInstanceId(request.headers.cookie);
    const sticky = stickyId === undefined ? undefined : pool.find(({ instanceId }) => instanceId === stickyId);
    if (pool.find(({ routeServiceUrl }) => routeServiceUrl !== '')) throw failures.routeServiceUnsupported();
    return { pool, fixed, sticky, stickyId };
  }

  /** Tries endpoints until one answers. @throws the last one's error */
  private async exchange(passage: Passage, target: Target): Promise<IncomingMessage> {
    const { maxAttempts, ineligibleMs } = this.options;
    const tried = new Set<string>();
    let lastError: unknown = failures.unknownRoute(passage.host);
    for (let attempt = 0; attempt < maxAttempts; attempt += 1) {
      const endpoint = this.choose(target, tried);
      if (!endpoint) break;
      tried.add(addressOf(endpoint));
      passage.endpoint = endpoint;
      try {
        return await this.send(passage, endpoint);
      } catch (error) {
        lastError = error;
        const isDial = error instanceof DialError;
        this.options.logger.warn('backend-endpoint-failed', { endpoint: addressOf(endpoint), error: String(error) });
        if (isDial && endpoint.isTls) target.pool.remove(endpoint);
        else if (isDial || isReset(error)) target.pool.markFailed(endpoint, ineligibleMs);
        if (!isDial && !(isCutOff(error) && isRepeatable(passage.request))) break;
      }
    }
    throw lastError;
  }

  private choose({ pool, fixed, sticky }: Target, tried: Set<string>): Endpoint | undefined {
    const preferred = fixed ?? sticky;
    if (preferred && !tried.has(addressOf(preferred))) return preferred;
    return fixed ? undefined : pool.next(tried);
  }

  private async send(passage: Passage, endpoint: Endpoint): Promise<IncomingMessage> {
    const outgoing = await this.prepare(passage, endpoint);
    const { request } = passage;
    return new Promise((resolve, reject) => {
      const timer = setTimeout(
        () => outgoing.destroy(new Error('context deadline exceeded')),
        this.options.endpointTimeoutMs,
      );
      const giveUp = () => outgoing.destroy();
      request.socket.once('close', giveUp);
      outgoing.once('response', (answer) => {
        clearTimeout(timer);
        answer.once('close', () => request.socket.off('close', giveUp));
        resolve(answer);
      });
      outgoing.once('error', (error) => {
        clearTimeout(timer);
        request.socket.off('close', giveUp);
        request.unpipe(outgoing);
        reject(error);
      });
      if (hasBody(request)) request.pipe(outgoing);
      else outgoing.end();
    });
  }

  private async prepare(passage: Passage, endpoint: Endpoint): Promise<ClientRequest> {
    const { dialTimeoutMs, certificateAuthorities } = this.options;
    const socket = await dial(endpoint, { timeoutMs: dialTimeoutMs, certificateAuthorities });
    passage.backendStartedMs = Date.now();
    const { request, requestId } = passage;
    return httpRequest({
      method: request.method,
      // The target is passed on byte for byte.
      path: request.url,
      headers: headersForApp(request, endpoint, requestId) as unknown as Record<string, string>,
      setHost: false,
      createConnection: () => socket,
    });
  }

  private relay(passage: Passage, target: Target, answer: IncomingMessage, response: ServerResponse): Promise<void> {
    const headers = this.answerHeaders(passage, target, answer, false);
    return new Promise((resolve) => {
      response.once('close', () => {
        answer.destroy();
        resolve();
      });
      answer.once('error', () => response.destroy());
      answer.once('aborted', () => response.destroy());
      response.writeHead(answer.statusCode!, answer.statusMessage ?? '', headers);
      response.flushHeaders();
      answer.pipe(response);
    });
  }

  private answerHeaders(passage: Passage, target: Target, answer: IncomingMessage, keepUpgrade: boolean): string[] {
    const headers = headersForClient(answer.rawHeaders, { keepUpgrade });
    if (valuesOf(headers, 'x-vcap-request-id').length === 0) headers.push('X-Vcap-Request-Id', passage.requestId);
    const cookie = stickyCookieFor(
      valuesOf(headers, 'set-cookie'),
      target.stickyId,
      passage.endpoint!,
      target.pool.contextPath,
    );
    if (cookie) headers.push('Set-Cookie', cookie);
    return headers;
  }

  private async upgrade(passage: Passage, target: Target, socket: Duplex, head: Buffer): Promise<void> {
    const tried = new Set<string>();
    let outgoing: ClientRequest | undefined;
    let lastError: unknown = failures.unknownRoute(passage.host);
    for (let attempt = 0; attempt < this.options.maxAttempts && !outgoing; attempt += 1) {
      const endpoint = this.choose(target, tried);
      if (!endpoint) break;
      tried.add(addressOf(endpoint));
      passage.endpoint = endpoint;
      try {
        outgoing = await this.prepare(passage, endpoint);
      } catch (error) {
        lastError = error;
        target.pool.markFailed(endpoint, this.options.ineligibleMs);
      }
    }
    if (!outgoing) throw lastError;
    await this.tunnel(passage, target, outgoing, socket, head);
  }

  private tunnel(
    passage: Passage,
    target: Target,
    outgoing: ClientRequest,
    socket: Duplex,
    head: Buffer,
  ): Promise<void> {
    return new Promise((resolve, reject) => {
      socket.once('close', () => outgoing.destroy());
      outgoing.once('error', reject);
      outgoing.once('upgrade', (answer, backend, backendHead) => {
        socket.write(rawHead(answer, this.answerHeaders(passage, target, answer, true)));
        if (backendHead.length > 0) socket.write(backendHead);
        if (head.length > 0) backend.write(head);
        for (const end of [socket, backend]) end.on('error', () => {});
        backend.pipe(socket).pipe(backend);
        backend.once('close', () => socket.destroy());
        socket.once('close', () => {
          backend.destroy();
          this.log(passage, 101, 0, undefined);
          resolve();
        });
      });
      outgoing.once('response', (answer) => {
        const headers = this.answerHeaders(passage, target, answer, false);
        socket.write(rawHead(answer, [...headers, 'Connection', 'close']));
        answer.pipe(socket);
        answer.once('close', () => {
          this.log(passage, answer.statusCode!, 0, undefined);
          resolve();
        });
      });
      outgoing.end();
    });
  }

  private refuse(response: ServerResponse, failure: RouterFailure): void {
    if (response.headersSent || response.destroyed) {
      response.destroy();
      return;
    }
    response.writeHead(failure.status, STATUS_CODES[failure.status] ?? `status code ${failure.status}`, {
      ...failureHeaders(failure),
    });
    response.end(failure.body);
  }

  private log(passage: Passage, status: number, bytesSent: number, routerError: string | undefined): void {
    const { request, endpoint, startedMs } = passage;
    const nowMs = Date.now();
    const header = (name: string) => [request.headers[name]].flat()[0];
    const record: AccessRecord = {
      host: passage.host,
      startedMs,
      requestLine: `${request.method} ${request.url} HTTP/${request.httpVersion}`,
      status,
      bytesReceived: Number(request.headers['content-length'] ?? 0),
      bytesSent,
      referer: header('referer'),
      userAgent: header('user-agent'),
      client: `${request.socket.remoteAddress}:${request.socket.remotePort}`,
      backend: endpoint && addressOf(endpoint),
      forwardedFor: header('x-forwarded-for'),
      forwardedProto: header('x-forwarded-proto') ?? 'http',
      requestId: passage.requestId,
      responseSeconds: (nowMs - startedMs) / 1000,
      gorouterSeconds: ((passage.backendStartedMs ?? nowMs) - startedMs) / 1000,
      app: endpoint?.app,
      appIndex: endpoint?.instanceIndex,
      instanceId: endpoint?.instanceId,
      routerError,
    };
    this.options.accessLog.write(record);
  }
}

/** An absolute-form target is forwarded as it is; routes are looked up by its path. */
function pathOf(target: string): string {
  return /^https?:\/\/[^/]*(\/.*)?$/i.exec(target)?.[1] ?? target;
}

function parseAppInstance(header: string): { app: string; index: string } {
  if (!appInstancePattern.test(header)) throw failures.invalidAppInstance();
  const [app = '', index = ''] = header.split(':');
  return { app, index };
}

function hasBody({ headers }: IncomingMessage): boolean {
  return headers['transfer-encoding'] !== undefined || Number(headers['content-length'] ?? 0) > 0;
}

function isRepeatable(request: IncomingMessage): boolean {
  const isMarked = 'idempotency-key' in request.headers || 'x-idempotency-key' in request.headers;
  return !hasBody(request) && (idempotentMethods.has(request.method!) || isMarked);
}

/** The connection ended before an answer began. */
function isCutOff(error: unknown): boolean {
  return (error as Error).message === 'socket hang up';
}

function isReset(error: unknown): boolean {
  return (error as NodeJS.ErrnoException).code === 'ECONNRESET' && !isCutOff(error);
}

function failureHeaders(failure: RouterFailure): Record<string, string> {
  return {
    ...(failure.body !== '' && {
      'Content-Type': 'text/plain; charset=utf-8',
      'X-Content-Type-Options': 'nosniff',
    }),
    ...(failure.reason !== '' && { 'X-Cf-RouterError': failure.reason }),
    ...failure.headers,
  };
}

function rawFailure(failure: RouterFailure): string {
  const headers = {
    ...failureHeaders(failure),
    'Content-Length': String(Buffer.byteLength(failure.body)),
    Connection: 'close',
  };
  const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`);
  const reason = STATUS_CODES[failure.status] ?? `status code ${failure.status}`;
  return `HTTP/1.1 ${failure.status} ${reason}\r\n${lines.join('')}\r\n${failure.body}`;
}

function rawHead(answer: IncomingMessage, headers: string[]): string {
  let head = `HTTP/1.1 ${answer.statusCode} ${answer.statusMessage}\r\n`;
  for (let position = 0; position < headers.length; position += 2)
    head += `${headers[position]}: ${headers[position + 1]}\r\n`;
  return `${head}\r\n`;
}
