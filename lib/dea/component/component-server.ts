import type { IncomingMessage, ServerResponse } from 'node:http';
import { hasCredentials } from '../../http/basic-auth.js';
import { HttpListener } from '../../http/listener.js';
import type { Credentials } from '../../http/url.js';
import { errorData, type Logger } from '../../logging/logger.js';

export interface ComponentServerOptions {
  host: string;
  /** 0 lets the system choose. */
  port: number;
  credentials: Credentials;
  varz(): Promise<Record<string, unknown>>;
  metrics(): string;
  logger: Logger;
}

interface Page {
  status: number;
  type?: string;
  headers?: Record<string, string>;
  body: string;
}

const limits = { headersMs: 10_000, requestMs: 10_000, connections: 256 };
const unauthorized: Page = { status: 401, headers: { 'WWW-Authenticate': 'Basic realm=""' }, body: '' };

/** `/healthz`, `/varz` and `/metrics` of the component, for those who know its password (docs/protocol/dea.md §22.3). */
export class ComponentServer {
  private readonly listener: HttpListener;

  constructor(private readonly options: ComponentServerOptions) {
    const { host, port } = options;
    this.listener = new HttpListener({
      host,
      port,
      limits,
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
    request.resume();
    const { status, type, headers, body } = await this.page(request);
    response.writeHead(status, {
      ...(type !== undefined && { 'Content-Type': type }),
      ...headers,
      'Content-Length': Buffer.byteLength(body),
    });
    response.end(body);
  }

  private async page({ url = '', headers }: IncomingMessage): Promise<Page> {
    const { credentials, varz, metrics, logger } = this.options;
    if (!hasCredentials(headers.authorization, credentials)) return unauthorized;
    const [path = ''] = url.split('?');
    try {
      if (isAtOrBelow(path, '/healthz')) return { status: 200, type: 'application/json', body: 'ok\n' };
      if (isAtOrBelow(path, '/varz')) {
        return { status: 200, type: 'application/json', body: `${JSON.stringify(await varz(), undefined, 2)}\n` };
      }
      if (path === '/metrics')
        return { status: 200, type: 'text/plain; version=0.0.4; charset=utf-8', body: metrics() };
    } catch (error) {
      logger.error('component.page.failed', { path, ...errorData(error) });
      return { status: 500, type: 'text/plain', body: 'Internal server error' };
    }
    return { status: 404, type: 'text/plain', headers: { 'X-Cascade': 'pass' }, body: `Not Found: ${path}` };
  }
}

/** As upstream's server maps paths. */
function isAtOrBelow(path: string, page: string): boolean {
  return path === page || path.startsWith(`${page}/`);
}
