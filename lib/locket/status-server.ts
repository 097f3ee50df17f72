import type { IncomingMessage, ServerResponse } from 'node:http';
import { HttpListener } from '../http/listener.js';
import type { LockStore } from '../locks/lock-store.js';
import { figuresText, prometheusType } from '../metrics/prometheus.js';
import type { Figure, Figures } from './metrics/figures.js';

export interface StatusServerOptions {
  host: string;
  /** 0 lets the system choose. */
  port: number;
  store: LockStore;
  figures: Figures;
}

const limits = { headersMs: 10_000, requestMs: 30_000, connections: 100 };
/** A store that does not answer within it is not healthy. */
const healthMs = 5000;
const plain = 'text/plain; charset=utf-8';

/** `/health`, whether the store answers, and `/metrics`, over HTTP for this machine: it only tells. */
export class StatusServer {
  readonly #listener: HttpListener;

  constructor(private readonly options: StatusServerOptions) {
    const { host, port } = options;
    this.#listener = new HttpListener({
      host,
      port,
      limits,
      handle: (request, response) => this.#handle(request, response),
    });
  }

  /** @throws when the address is taken */
  start(): Promise<void> {
    return this.#listener.start();
  }

  get port(): number {
    return this.#listener.port;
  }

  /** Idempotent. */
  stop(): Promise<void> {
    return this.#listener.stop();
  }

  async #handle({ method, url = '' }: IncomingMessage, response: ServerResponse): Promise<void> {
    const path = url.split('?')[0];
    if (method !== 'GET' && method !== 'HEAD') return end(response, 405, plain, 'Method Not Allowed\n');
    if (path === '/metrics') {
      return end(response, 200, prometheusType, figuresText('locket', this.options.figures.all().map(withTags)));
    }
    if (path !== '/health') return end(response, 404, plain, '404 page not found\n');
    const fault = await this.#fault();
    if (fault === undefined) end(response, 200, plain, 'ok\n');
    else end(response, 503, plain, `${fault}\n`);
  }

  async #fault(): Promise<string | undefined> {
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<string>((resolve) => {
      timer = setTimeout(() => resolve(`no answer of the store within ${healthMs} ms`), healthMs);
    });
    const answer = this.options.store.count('lock').then(
      () => undefined,
      (error: Error) => error.message,
    );
    try {
      return await Promise.race([answer, late]);
    } finally {
      clearTimeout(timer);
    }
  }
}

function end(response: ServerResponse, status: number, type: string, text: string): void {
  response.writeHead(status, { 'Content-Type': type }).end(text);
}

function withTags(figure: Figure) {
  return { ...figure, ...(figure.requestType !== undefined && { tags: { request_type: figure.requestType } }) };
}
