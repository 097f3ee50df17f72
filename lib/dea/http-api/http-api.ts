import type { IncomingMessage, ServerResponse } from 'node:http';
import type { TlsOptions } from 'node:tls';
import { BodyTooLargeError, readBody } from '../../http/body.js';
import { type HttpLimits, HttpListener } from '../../http/listener.js';
import { errorData, type Logger } from '../../logging/logger.js';
import { redact } from '../../logging/redaction.js';
import { type ApiAnswer, accepted, errorAnswer, internalError, notFound, unavailable } from './answer.js';
import { type ApiResource, hasUsableEnvironment, parseBody, Refusal, resourceOf } from './api-request.js';

export interface HttpApiOptions {
  host: string;
  /** 0 lets the system choose. */
  port: number;
  /** Keys and rules of the server, `serverTls` makes them; absent: plain HTTP, for specs of what lies above. */
  tls?: TlsOptions;
  /** Whether the agent takes work at all: it does not while it evacuates or shuts down. */
  isAccepting(): boolean;
  /** Starts an instance; what becomes of it is not waited for. */
  startInstance(message: Record<string, unknown>): void;
  /** Stages an app, likewise; absent: the path does not exist, and Cloud Controllers stage over NATS. */
  stage?: ((message: Record<string, unknown>) => void) | undefined;
  /** Whether this agent stages; the Cloud Controller asks another one when it does not. */
  isStager: boolean;
  limits?: HttpLimits;
  logger: Logger;
}

/** Start messages have some kilobytes; one with more than this is none. */
const maximumBodyBytes = 16 * 1024 * 1024;
const defaultLimits: HttpLimits = { headersMs: 10_000, requestMs: 30_000, connections: 1024 };

/**
 * The HTTPS interface that late Cloud Controllers prefer over NATS: `POST /v1/apps` and `POST /v1/stage`
 * (docs/protocol/dea.md §6.1). A body is checked before anything else, as upstream does.
 */
export class HttpApi {
  private readonly listener: HttpListener;

  constructor(private readonly options: HttpApiOptions) {
    const { host, port, tls, limits = defaultLimits } = options;
    this.listener = new HttpListener({
      host,
      port,
      limits,
      ...(tls && { tls }),
      handle: (request, response) => this.handle(request, response),
    });
  }

  /** @throws when the port is taken */
  start(): Promise<void> {
    return this.listener.start();
  }

  get port(): number {
    return this.listener.port;
  }

  /** Idempotent. */
  stop(): Promise<void> {
    return this.listener.stop();
  }

  private async handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const answer = await this.answerTo(request);
    response.writeHead(answer.status, {
      ...answer.headers,
      ...(answer.status !== 204 && { 'Content-Length': Buffer.byteLength(answer.body) }),
    });
    response.end(answer.body);
  }

  private async answerTo(request: IncomingMessage): Promise<ApiAnswer> {
    const { method = '', url = '', headers } = request;
    try {
      const resource = resourceOf(method, url);
      if (resource === 'stage' && !this.options.stage) return notFound;
      const message = parseBody(headers['content-type'], await readBody(request, maximumBodyBytes));
      this.options.logger.debug('http.request.received', { method, path: url, data: redact(message) });
      return this.take(resource, message);
    } catch (error) {
      if (error instanceof Refusal) return error.answer;
      if (error instanceof BodyTooLargeError) return errorAnswer(413, error.message);
      this.options.logger.error('http.request.failed', errorData(error));
      return internalError;
    }
  }

  private take(resource: ApiResource, message: Record<string, unknown>): ApiAnswer {
    const { isAccepting, startInstance, stage, isStager } = this.options;
    if (!isAccepting()) return unavailable;
    if (resource === 'stage') {
      if (!isStager) return unavailable;
      stage!(message);
      return accepted;
    }
    if (!hasUsableEnvironment(message)) return internalError;
    startInstance(message);
    return accepted;
  }
}
