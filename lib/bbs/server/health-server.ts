import type { IncomingMessage, ServerResponse } from 'node:http';
import { HttpListener } from '../../http/listener.js';
import { prometheusText, prometheusType } from '../../metrics/prometheus.js';
import type { Figures } from '../figures/figures.js';

export interface HealthServerOptions {
  host: string;
  port: number;
  figures: Figures;
  /** Whether the API answers. */
  isReady: () => boolean;
}

const limits = { headersMs: 10_000, requestMs: 30_000, connections: 100 };

/**
 * Says that the process lives, on every path, also when it is passive (docs/protocol/bbs.md §1). Two paths say more:
 * `/ready` whether the API answers, `/metrics` the figures for Prometheus.
 */
export class HealthServer {
  readonly #listener: HttpListener;

  constructor(private readonly options: HealthServerOptions) {
    const { host, port } = options;
    this.#listener = new HttpListener({
      host,
      port,
      limits,
      handle: (request, response) => this.#handle(request, response),
    });
  }

  /** @throws when the port is taken */
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

  async #handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { figures, isReady } = this.options;
    request.resume();
    switch (request.url?.split('?')[0]) {
      case '/ready':
        response.writeHead(isReady() ? 200 : 503).end();
        return;
      case '/metrics':
        await figures.report();
        response.writeHead(200, { 'Content-Type': prometheusType }).end(prometheusText('bbs', figures.kept));
        return;
      default:
        response.writeHead(200).end();
    }
  }
}
