import { randomUUID } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import type { AccessRecord } from '../access-log.js';
import type { Endpoint } from '../messages.js';
import { addressOf } from '../pool.js';

/** One request on its way through the router: what is known of it, and what the access log will tell. */
export class Passage {
  readonly requestId = randomUUID();
  /** The host that the client asked for, as it came, with port. */
  readonly host: string;
  /** Path of the target, without query. */
  readonly path: string;
  readonly clientIp: string;
  /** `ip:port` */
  readonly clientAddress: string;
  endpoint: Endpoint | undefined;
  status = 0;
  routerError = '';
  /** Parts of the body were given away. */
  isBodyTaken = false;
  bytesReceived = 0;
  bytesSent = 0;
  forwardedFor = '';
  forwardedProto = '';
  private readonly startedMs = performance.timeOrigin + performance.now();
  private sentMs: number | undefined;
  private answeredMs: number | undefined;

  constructor(readonly request: IncomingMessage) {
    const { authority, path } = splitTarget(request.url ?? '');
    this.host = authority ?? request.headers.host ?? '';
    this.path = path;
    const { remoteAddress = '', remotePort = 0 } = request.socket;
    this.clientIp = remoteAddress.replace(/^::ffff:/, '');
    this.clientAddress = `${this.clientIp}:${remotePort}`;
  }

  /** The host's name in lower case, without port. */
  get hostName(): string {
    return this.host.replace(/:\d*$/, '').toLowerCase();
  }

  get hasBody(): boolean {
    const { headers } = this.request;
    return headers['transfer-encoding'] !== undefined || Number(headers['content-length'] ?? 0) > 0;
  }

  /** The client sends its body only when it is asked to (RFC 7231 §5.1.1). */
  get expectsContinue(): boolean {
    return this.hasBody && this.request.headers.expect?.toLowerCase() === '100-continue';
  }

  /** The same request twice does what it does once. */
  get isIdempotent(): boolean {
    const { method = '', headers } = this.request;
    if (headers['idempotency-key'] !== undefined || headers['x-idempotency-key'] !== undefined) return !this.hasBody;
    return !this.hasBody && ['GET', 'HEAD', 'OPTIONS', 'TRACE'].includes(method);
  }

  /** The request leaves for an endpoint. */
  markSent(): void {
    this.sentMs = performance.now();
    this.answeredMs = undefined;
  }

  /** The endpoint's answer is complete, or will not come. */
  markAnswered(): void {
    this.answeredMs ??= performance.now();
  }

  /** What the access log tells, once all is over. */
  record(): AccessRecord {
    const { request, endpoint } = this;
    const nowMs = performance.now();
    const totalMs = performance.timeOrigin + nowMs - this.startedMs;
    const appMs = this.sentMs === undefined ? 0 : (this.answeredMs ?? nowMs) - this.sentMs;
    return {
      host: this.host,
      startedMs: this.startedMs,
      requestLine: `${request.method} ${request.url} HTTP/${request.httpVersion}`,
      status: this.status,
      bytesReceived: this.bytesReceived,
      bytesSent: this.bytesSent,
      referer: request.headers.referer,
      userAgent: request.headers['user-agent'],
      client: this.clientAddress,
      backend: endpoint && addressOf(endpoint),
      forwardedFor: this.forwardedFor,
      forwardedProto: this.forwardedProto,
      requestId: this.requestId,
      responseSeconds: totalMs / 1000,
      gorouterSeconds: Math.max(0, totalMs - appMs) / 1000,
      app: endpoint?.app,
      appIndex: endpoint?.instanceIndex,
      instanceId: endpoint?.instanceId,
      routerError: this.routerError,
    };
  }
}

/** A target in absolute form names the host itself, whatever the `Host` header says (RFC 7230 §5.4). */
function splitTarget(target: string): { authority: string | undefined; path: string } {
  const absolute = /^https?:\/\/([^/?#]*)/i.exec(target);
  const [path = ''] = (absolute ? target.slice(absolute[0].length) : target).split('?');
  return { authority: absolute?.[1]?.replace(/^.*@/, ''), path };
}
