import { randomUUID } from 'node:crypto';
import { Agent } from 'undici';
import { basicAuthorization } from '../../http/url.js';
import type { OrderTransport, StartOrder, StopOrder } from './transport.js';

export interface HttpTransportOptions {
  /** Base URL of the Cloud Controller's internal API. */
  baseUrl: string;
  user: string;
  password: string;
  verifiesCertificate: boolean;
  /** @default 10000 */
  timeoutMs?: number;
}

/** The Cloud Controller refused an order; the text has what it said. */
export class OrderRefusedError extends Error {
  constructor(
    readonly status: number,
    readonly body: string,
  ) {
    super(`status ${status}: ${body.slice(0, 500)}`);
  }

  /** Whether the answer is the Cloud Controller's own word that it does not know the app. */
  get isUnknownApp(): boolean {
    if (this.status !== 404) return false;
    try {
      return (JSON.parse(this.body) as { error_code?: unknown }).error_code === 'CF-ProcessNotFound';
    } catch {
      return false;
    }
  }
}

const defaultTimeoutMs = 10_000;

/** Orders as requests, each of which is answered for (docs/protocol/health-manager.md §6.4). */
export class HttpTransport implements OrderTransport {
  readonly #agent: Agent;
  readonly #authorization: string;

  constructor(private readonly options: HttpTransportOptions) {
    const { user, password, verifiesCertificate, timeoutMs = defaultTimeoutMs } = options;
    this.#agent = new Agent({
      connect: { timeout: timeoutMs, rejectUnauthorized: verifiesCertificate },
      headersTimeout: timeoutMs,
      bodyTimeout: timeoutMs,
    });
    this.#authorization = basicAuthorization({ user, password });
  }

  /** @throws OrderRefusedError, or the connection's error */
  start(order: StartOrder): Promise<void> {
    return this.#post('start', order);
  }

  /** @throws OrderRefusedError, or the connection's error */
  stop(order: StopOrder): Promise<void> {
    return this.#post('stop', order);
  }

  /** Cuts what is under way. Idempotent. */
  async close(): Promise<void> {
    await this.#agent.destroy();
  }

  async #post(verb: 'start' | 'stop', order: StartOrder | StopOrder): Promise<void> {
    const { baseUrl, timeoutMs = defaultTimeoutMs } = this.options;
    const url = new URL(`/internal/dea/hm9000/${verb}/${encodeURIComponent(order.droplet)}`, baseUrl);
    const { statusCode, body } = await this.#agent.request({
      origin: url.origin,
      path: url.pathname,
      method: 'POST',
      headers: {
        authorization: this.#authorization,
        'content-type': 'application/json',
        'x-vcap-request-id': randomUUID(),
      },
      body: JSON.stringify(order),
      signal: AbortSignal.timeout(timeoutMs),
    });
    const text = await body.text();
    if (statusCode !== 200) throw new OrderRefusedError(statusCode, text);
  }
}
