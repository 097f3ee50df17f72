import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { type AddressInfo, isIP } from 'node:net';
import { availableParallelism } from 'node:os';
import { type IntervalHistogram, monitorEventLoopDelay } from 'node:perf_hooks';
import { errorData, type Logger } from '../logging/logger.js';

export interface DebugServerOptions {
  host: string;
  /** 0 lets the system choose. */
  port: number;
  /** What the server tells beside what its process takes, by name. */
  figures: () => Promise<Record<string, number>>;
  logger: Logger;
}

const nanosecondsPerSecond = 1e9;
const microsecondsPerSecond = 1e6;
const delayResolutionMs = 20;

/**
 * Figures of a running server over HTTP, where `debug_bind_ip` and `debug_bind_port` say
 * (docs/protocol/containers.md §2.7): `/debug/vars` as JSON, `/metrics` in Prometheus' text format. It only tells.
 */
export class DebugServer {
  readonly #options: DebugServerOptions;
  readonly #server: Server;
  readonly #delay: IntervalHistogram = monitorEventLoopDelay({ resolution: delayResolutionMs });

  private constructor(options: DebugServerOptions) {
    this.#options = options;
    this.#server = createServer((request, response) => void this.#answer(request, response));
  }

  static create(options: DebugServerOptions): DebugServer {
    return new DebugServer(options);
  }

  /** @throws when the address is taken */
  async start(): Promise<void> {
    const { host, port, logger } = this.#options;
    this.#server.listen(port, host);
    await once(this.#server, 'listening');
    this.#delay.enable();
    const isOpenToOthers = isIP(host) !== 0 && !/^(127\.|::1$)/.test(host);
    if (isOpenToOthers) logger.warn('garden.debug.open-to-others', { host, port: this.port });
  }

  /** The port that was bound. @throws unless it was started */
  get port(): number {
    const address = this.#server.address() as AddressInfo | null;
    if (!address) throw new Error('not listening');
    return address.port;
  }

  /** Idempotent. */
  async stop(): Promise<void> {
    this.#delay.disable();
    if (!this.#server.listening) return;
    const closed = once(this.#server, 'close');
    this.#server.close();
    this.#server.closeAllConnections();
    await closed;
  }

  async #answer({ method, url = '' }: IncomingMessage, response: ServerResponse): Promise<void> {
    try {
      if (method !== 'GET') return end(response, 405, 'text/plain', 'Method Not Allowed\n');
      const path = url.split('?')[0];
      if (path === '/debug/vars')
        return end(response, 200, 'application/json', `${JSON.stringify(await this.#all())}\n`);
      if (path === '/metrics')
        return end(response, 200, 'text/plain; version=0.0.4', prometheusText(await this.#all()));
      end(response, 404, 'text/plain', '404 page not found\n');
    } catch (error) {
      this.#options.logger.error('garden.debug.failed', errorData(error));
      end(response, 500, 'text/plain', 'the figures cannot be told\n');
    }
  }

  async #all(): Promise<Record<string, number>> {
    const { rss, heapUsed, external } = process.memoryUsage();
    const { user, system } = process.cpuUsage();
    return {
      ...(await this.#options.figures()),
      processors: availableParallelism(),
      uptime_seconds: process.uptime(),
      processor_seconds: (user + system) / microsecondsPerSecond,
      resident_bytes: rss,
      heap_bytes: heapUsed,
      external_bytes: external,
      loop_delay_p99_seconds: (this.#delay.percentile(99) || 0) / nanosecondsPerSecond,
    };
  }
}

/** Without types: whoever reads it takes them for gauges, or knows better. */
function prometheusText(figures: Record<string, number>): string {
  return Object.entries(figures)
    .map(([name, value]) => `isthmus_${name} ${value}\n`)
    .join('');
}

function end(response: ServerResponse, status: number, type: string, text: string): void {
  response.writeHead(status, { 'Content-Type': type }).end(text);
}
