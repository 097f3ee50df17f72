import { once, setMaxListeners } from 'node:events';
import {
  type ClientRequest,
  Agent as HttpAgent,
  request as httpRequest,
  type IncomingHttpHeaders,
  type IncomingMessage,
} from 'node:http';
import { Agent as HttpsAgent, request as httpsRequest } from 'node:https';
import { InvalidResponse, PeerTimeout, PeerUnreachable } from './errors.js';
import { addressOf, type HttpPeer } from './http-peer.js';
import { type JoinedSignal, joinSignals } from './joined-signal.js';

export interface ExchangeLimits {
  /** Connecting, with the handshake. Milliseconds. */
  connectTimeoutMs: number;
  /** From the start of a request to its answer's last byte; 0: it may take for ever. Milliseconds. */
  timeoutMs: number;
  /** Of an answer's body. */
  maximumBodyBytes: number;
}

export interface HttpQuestion {
  method: 'GET' | 'POST';
  /** Behind the peer's base path. */
  path: string;
  headers: Record<string, string>;
  body?: Buffer;
  signal?: AbortSignal | undefined;
}

export interface HttpAnswer {
  status: number;
  headers: IncomingHttpHeaders;
  body: Buffer;
}

/** Requests to one peer with answers that are read whole, on connections that are kept. */
export class HttpExchange {
  readonly #agent: HttpAgent;
  readonly #stopping = new AbortController();

  constructor(
    private readonly peer: HttpPeer,
    private readonly limits: ExchangeLimits,
  ) {
    this.#agent = peer.isSecure ? new HttpsAgent({ keepAlive: true, ...peer.tls }) : new HttpAgent({ keepAlive: true });
    // One for each request that is under way, however many there are.
    setMaxListeners(0, this.#stopping.signal);
  }

  /** @throws PeerTimeout; PeerUnreachable; InvalidResponse for an answer that is too large; the signal's reason */
  async ask(question: HttpQuestion): Promise<HttpAnswer> {
    const givingUp = joinSignals(question.signal, this.#stopping.signal);
    const timer = this.#limit(givingUp, question);
    try {
      givingUp.signal.throwIfAborted();
      return await this.#exchange(question, givingUp);
    } catch (error) {
      givingUp.signal.throwIfAborted();
      // The latter is a question that cannot be asked, such as one with a header of two lines.
      if (error instanceof InvalidResponse || error instanceof TypeError) throw error;
      throw new PeerUnreachable(`${this.peer.url}: ${(error as Error).message}`, { cause: error });
    } finally {
      clearTimeout(timer);
      givingUp.release();
    }
  }

  /** Breaks off what is under way and closes all connections. Idempotent. */
  stop(): void {
    this.#stopping.abort(new PeerUnreachable(`${this.peer.url}: the client is stopped`));
    this.#agent.destroy();
  }

  #limit(givingUp: JoinedSignal, { method, path }: HttpQuestion): NodeJS.Timeout | undefined {
    const { timeoutMs } = this.limits;
    if (timeoutMs === 0) return undefined;
    const text = `Timeout exceeded: ${this.peer.url} did not answer ${method} ${path} within ${timeoutMs} ms`;
    return setTimeout(() => givingUp.abort(new PeerTimeout(text)), timeoutMs);
  }

  async #exchange(question: HttpQuestion, givingUp: JoinedSignal): Promise<HttpAnswer> {
    const request = this.#start(question, givingUp);
    const [response] = (await once(request, 'response')) as [IncomingMessage];
    const body = await this.#read(response);
    return { status: response.statusCode ?? 0, headers: response.headers, body };
  }

  #start({ method, path, headers, body }: HttpQuestion, givingUp: JoinedSignal): ClientRequest {
    const options = {
      ...addressOf(this.peer),
      method,
      path: `${this.peer.basePath}${path}`,
      headers: { Host: this.peer.authority, ...headers, ...(body && { 'Content-Length': String(body.length) }) },
      agent: this.#agent,
      signal: givingUp.signal,
    };
    const request = this.peer.isSecure ? httpsRequest(options) : httpRequest(options);
    // Whoever waits for the response learns of the first failure; later ones tell nothing new.
    request.on('error', () => {});
    this.#limitConnecting(request, givingUp);
    request.end(body);
    return request;
  }

  #limitConnecting(request: ClientRequest, givingUp: JoinedSignal): void {
    const { connectTimeoutMs } = this.limits;
    request.once('socket', (socket) => {
      if (!socket.connecting) return;
      const text = `Timeout exceeded: no connection to ${this.peer.url} within ${connectTimeoutMs} ms`;
      const timer = setTimeout(() => givingUp.abort(new PeerTimeout(text)), connectTimeoutMs);
      socket.once(this.peer.isSecure ? 'secureConnect' : 'connect', () => clearTimeout(timer));
      request.once('close', () => clearTimeout(timer));
    });
  }

  async #read(response: IncomingMessage): Promise<Buffer> {
    const { maximumBodyBytes } = this.limits;
    const parts: Buffer[] = [];
    let length = 0;
    for await (const part of response as AsyncIterable<Buffer>) {
      length += part.length;
      if (length > maximumBodyBytes) {
        const status = response.statusCode ?? 0;
        throw new InvalidResponse(status, `the answer of ${this.peer.url} has more than ${maximumBodyBytes} bytes`);
      }
      parts.push(part);
    }
    return Buffer.concat(parts);
  }
}
