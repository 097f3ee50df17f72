import { Agent, type Dispatcher } from 'undici';
import { errnoText } from '../../http/failure.js';

export interface BridgeOptions {
  /** Limit of connecting, and of waiting for more of an answer. @default 10000 */
  timeoutMs?: number;
  /** Lies around each request. @default nothing */
  interceptor?: Dispatcher.DispatcherComposeInterceptor | undefined;
}

export interface BridgeRequest {
  method: 'GET' | 'PUT' | 'POST' | 'DELETE';
  path: string;
  /** Becomes JSON. */
  body?: unknown;
  /** The user's own `Authorization`, for those who pass it on. */
  authorization?: string | undefined;
}

export interface BridgeAnswer {
  status: number;
  text: string;
}

/** Nobody listens there, or whoever does says nothing. */
export class BridgeUnreachableError extends Error {}

const defaultTimeoutMs = 10_000;
/** Only a refused connection is tried again: any other request may have been carried out. */
const tries = 3;
/** Many apps are asked about when all are listed. */
const connections = 20;

/** Requests to the listeners of a CC-bridge (docs/protocol/legacy-cc.md §9.1). */
export class Bridge {
  private readonly agent: Agent;
  private readonly dispatcher: Dispatcher;

  constructor({ timeoutMs = defaultTimeoutMs, interceptor }: BridgeOptions) {
    this.agent = new Agent({
      connections,
      connect: { timeout: timeoutMs },
      headersTimeout: timeoutMs,
      bodyTimeout: timeoutMs,
    });
    this.dispatcher = interceptor ? this.agent.compose(interceptor) : this.agent;
  }

  /** Cuts what is under way. Idempotent. */
  async close(): Promise<void> {
    await this.agent.destroy();
  }

  /** @throws BridgeUnreachableError */
  async ask(baseUrl: string, request: BridgeRequest): Promise<BridgeAnswer> {
    const url = new URL(request.path, baseUrl);
    for (let attempt = 1; ; attempt += 1) {
      try {
        return await this.send(url, request);
      } catch (error) {
        const reason = errnoText(error);
        if (reason === 'ECONNREFUSED' && attempt < tries) continue;
        throw new BridgeUnreachableError(`${reason} (${url.host})`, { cause: error });
      }
    }
  }

  private async send(url: URL, { method, body, authorization }: BridgeRequest): Promise<BridgeAnswer> {
    const answer = await this.dispatcher.request({
      origin: url.origin,
      path: url.pathname,
      method,
      headers: { 'content-type': 'application/json', ...(authorization !== undefined && { authorization }) },
      ...(body !== undefined && { body: JSON.stringify(body) }),
    });
    return { status: answer.statusCode, text: await answer.body.text() };
  }
}
