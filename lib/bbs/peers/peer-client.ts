import { Agent } from 'undici';
import type { Identity } from '../../http/internal-tls.js';
import { OutsideFailure } from '../outside-failure.js';

export interface PeerClientOptions {
  /** Own certificate, and whom to trust; without it HTTPS peers are asked as anybody would. */
  tls?: Identity | undefined;
  /** Of one request, ms. */
  timeoutMs: number;
  /** To one peer at the same time. @default 16 */
  connections?: number;
}

/** Sends JSON to other components over HTTP, with mutual TLS (docs/protocol/bbs.md §13). */
export class PeerClient {
  readonly #agent: Agent;

  constructor(private readonly options: PeerClientOptions) {
    const { tls, timeoutMs, connections = 16 } = options;
    this.#agent = new Agent({ connections, connect: { ...tls, timeout: timeoutMs }, keepAliveTimeout: 30_000 });
  }

  /**
   * @param body JSON text; undefined: none
   * @returns the status
   * @throws OutsideFailure when the peer is not reached, or does not answer in time
   */
  async send(method: 'POST' | 'PUT', url: string, body: string | undefined, traceId: string): Promise<number> {
    try {
      const { origin, pathname, search } = new URL(url);
      const response = await this.#agent.request({
        origin,
        path: `${pathname}${search}`,
        method,
        headers: { 'content-type': 'application/json', 'x-vcap-request-id': headerText(traceId) },
        body: body ?? null,
        signal: AbortSignal.timeout(this.options.timeoutMs),
      });
      await response.body.dump();
      return response.statusCode;
    } catch (error) {
      throw new OutsideFailure(`${method} ${url}: ${(error as Error).message}`, { cause: error });
    }
  }

  /** Cuts what is under way. Idempotent. */
  async stop(): Promise<void> {
    await this.#agent.destroy();
  }
}

/** A client may have sent what no header can hold. */
function headerText(traceId: string): string {
  return traceId.replaceAll(/[^\x20-\x7e]/g, '');
}
