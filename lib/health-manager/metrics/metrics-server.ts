import type { IncomingMessage, ServerResponse } from 'node:http';
import { availableParallelism } from 'node:os';
import { hasCredentials } from '../../http/basic-auth.js';
import { HttpListener } from '../../http/listener.js';
import type { Credentials } from '../../http/url.js';
import type { Metrics } from '../../metrics/metrics.js';
import { prometheusText, prometheusType } from '../../metrics/prometheus.js';
import { answerNotFound, answerUnauthorized } from '../http-answers.js';

export interface MetricsServerOptions {
  host: string;
  port: number;
  credentials: Credentials;
  /** Address that is told to those who collect figures. */
  ip: string;
  metrics: Metrics;
}

const limits = { headersMs: 10_000, requestMs: 30_000, connections: 100 };

/** Health and figures over HTTP, for collectors of both ages (docs/protocol/health-manager.md §9). */
export class MetricsServer {
  readonly #server: HttpListener;

  constructor(private readonly options: MetricsServerOptions) {
    const { host, port } = options;
    this.#server = new HttpListener({
      host,
      port,
      limits,
      handle: async (request, response) => this.#handle(request, response),
    });
  }

  /** @throws when the port is taken */
  start(): Promise<void> {
    return this.#server.start();
  }

  get port(): number {
    return this.#server.port;
  }

  /** Idempotent. */
  stop(): Promise<void> {
    return this.#server.stop();
  }

  #handle(request: IncomingMessage, response: ServerResponse): void {
    const path = request.url?.split('?')[0];
    if (path === '/healthz') {
      response.writeHead(200, { 'Content-Type': 'text/plain' }).end('ok');
      return;
    }
    const page = path === '/varz' ? this.#varz : path === '/metrics' ? this.#prometheus : undefined;
    if (!page) {
      answerNotFound(response);
    } else if (!hasCredentials(request.headers.authorization, this.options.credentials)) {
      answerUnauthorized(response, 'Authorization Required');
    } else {
      const { type, body } = page.call(this);
      response.writeHead(200, { 'Content-Type': type }).end(body);
    }
  }

  #varz(): { type: string; body: string } {
    const { heapTotal, heapUsed, rss } = process.memoryUsage();
    const { metrics, ip } = this.options;
    const figures = [...metrics.gauges, ...metrics.counters].map(([name, value]) => ({ name, value }));
    const document = {
      name: 'HM9000',
      numCPUS: availableParallelism(),
      numGoRoutines: 0,
      memoryStats: {
        numBytesAllocatedHeap: heapTotal,
        numBytesAllocatedStack: 0,
        numBytesAllocated: heapUsed,
        numMallocs: 0,
        numFrees: 0,
        lastGCPauseTimeNS: 0,
        residentBytes: rss,
      },
      tags: { ip },
      contexts: [{ name: 'HM9000', metrics: figures }],
    };
    return { type: 'application/json', body: JSON.stringify(document) };
  }

  #prometheus(): { type: string; body: string } {
    return { type: prometheusType, body: prometheusText('hm', this.options.metrics) };
  }
}
