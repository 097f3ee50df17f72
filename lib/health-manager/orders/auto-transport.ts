import type { Logger } from '../../logging/logger.js';
import { OrderRefusedError } from './http-transport.js';
import type { OrderTransport, StartOrder, StopOrder } from './transport.js';

export interface AutoTransportOptions {
  http: OrderTransport;
  nats: OrderTransport;
  /** Milliseconds, monotonic. @default performance.now */
  monotonicMs?: () => number;
  logger: Logger;
}

const fallbackMs = 10 * 60_000;

/**
 * Orders over HTTP, and over NATS to a Cloud Controller that has no such endpoint. Only the handler of the bus stops
 * instances of an app that the Cloud Controller has forgotten (docs/protocol/health-manager.md §6.4).
 */
export class AutoTransport implements OrderTransport {
  #natsUntilMs = Number.NEGATIVE_INFINITY;
  readonly #monotonicMs: () => number;

  constructor(private readonly options: AutoTransportOptions) {
    this.#monotonicMs = options.monotonicMs ?? (() => performance.now());
  }

  async start(order: StartOrder): Promise<void> {
    const { http, nats } = this.options;
    if (this.#prefersNats) return nats.start(order);
    try {
      await http.start(order);
    } catch (error) {
      if (!this.#lacksEndpoint(error)) throw error;
      await nats.start(order);
    }
  }

  async stop(order: StopOrder): Promise<void> {
    const { http, nats } = this.options;
    if (this.#prefersNats) return nats.stop(order);
    try {
      await http.stop(order);
    } catch (error) {
      const isForgotten = error instanceof OrderRefusedError && error.isUnknownApp;
      if (!isForgotten && !this.#lacksEndpoint(error)) throw error;
      await nats.stop(order);
    }
  }

  get #prefersNats(): boolean {
    return this.#monotonicMs() < this.#natsUntilMs;
  }

  #lacksEndpoint(error: unknown): boolean {
    if (!(error instanceof OrderRefusedError) || error.status !== 404 || error.isUnknownApp) return false;
    this.options.logger.warn('The Cloud Controller takes no orders over HTTP; using NATS for ten minutes');
    this.#natsUntilMs = this.#monotonicMs() + fallbackMs;
    return true;
  }
}
