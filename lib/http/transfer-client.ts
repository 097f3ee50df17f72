import type { Readable } from 'node:stream';
import { Agent, type Dispatcher } from 'undici';
import { basicAuthorization, credentialsOf } from './url.js';

export interface TransferClientOptions {
  /** Limit for making a connection. @default 5000 */
  connectTimeoutMs?: number;
  /** Limit for a connection on which nothing moves. @default 30000 */
  inactivityTimeoutMs?: number;
  /** Limit for all of it, however much moves; then it fails as if nothing had come any more. @default none */
  timeoutMs?: number;
}

export interface TransferRequest {
  method: 'GET' | 'POST';
  headers?: Record<string, string>;
  body?: Readable;
  signal?: AbortSignal;
}

/** The answer, and the URL that gave it: the last one of a chain of redirects. */
export interface TransferAnswer {
  url: URL;
  status: number;
  body: Dispatcher.ResponseData['body'];
}

const maximumRedirects = 5;
const redirectStatuses = [301, 302, 303, 307, 308];
/** An answer that is no blob is read whole; more than this is not an answer of the protocol. */
const maximumTextBytes = 1024 * 1024;
/** A timer takes no longer time than this. */
const longestTimerMs = 2 ** 31 - 1;

/**
 * HTTP for blobs: basic authentication from the URL, deadlines on each connection, redirects of GET without taking
 * the credentials to other hosts (docs/protocol/dea.md §19). `close()` it when the transfer is over.
 */
export class TransferClient {
  private readonly agent: Agent;

  constructor(options: TransferClientOptions = {}) {
    const { connectTimeoutMs = 5000, inactivityTimeoutMs = 30_000 } = options;
    this.agent = new Agent({
      connect: { timeout: connectTimeoutMs },
      headersTimeout: inactivityTimeoutMs,
      bodyTimeout: inactivityTimeoutMs,
    });
  }

  /** Sends one request; GET follows up to 5 redirects, the answer after that is the redirect itself. */
  async request(start: URL, request: TransferRequest): Promise<TransferAnswer> {
    let url = start;
    for (let redirects = 0; ; redirects += 1) {
      const { statusCode, headers, body } = await this.send(url, request);
      const target = request.method === 'GET' ? redirectTarget(url, statusCode, headers.location) : undefined;
      if (!target || redirects === maximumRedirects) return { url, status: statusCode, body };
      await body.dump();
      url = target;
    }
  }

  /** Cuts what is still open; whoever waits for it sees `reason`. */
  async close(reason?: Error): Promise<void> {
    await this.agent.destroy(reason ?? null);
  }

  private async send(url: URL, { method, headers, body, signal }: TransferRequest): Promise<Dispatcher.ResponseData> {
    const credentials = credentialsOf(url);
    const answer = await this.agent.request({
      origin: url.origin,
      path: `${url.pathname}${url.search}`,
      method,
      headers: { ...(credentials && { authorization: basicAuthorization(credentials) }), ...headers },
      body: body ?? null,
      ...(signal && { signal }),
    });
    // Who reads the body learns of its errors; one that nobody reads must not end the process with its own.
    answer.body.on('error', () => {});
    return answer;
  }
}

/**
 * Runs `work` with a client and closes it afterwards. When `signal` ended the work, the signal's own reason is thrown
 * instead of the broken connection's.
 *
 * @throws what `work` throws; an error with the code `ETIMEDOUT` is what connections end with after `timeoutMs`
 */
export async function withTransferClient<Result>(
  options: TransferClientOptions & { signal?: AbortSignal },
  work: (client: TransferClient) => Promise<Result>,
): Promise<Result> {
  options.signal?.throwIfAborted();
  const client = new TransferClient(options);
  const timer = startTimer(options.timeoutMs, () => void client.close(new TransferTimeoutError()));
  try {
    return await work(client);
  } catch (error) {
    options.signal?.throwIfAborted();
    throw error;
  } finally {
    clearTimeout(timer);
    await client.close();
  }
}

/** Told as connections that time out are. */
class TransferTimeoutError extends Error {
  readonly code = 'ETIMEDOUT';

  constructor() {
    super('the transfer took too long');
  }
}

function startTimer(timeoutMs: number | undefined, act: () => void): NodeJS.Timeout | undefined {
  return timeoutMs === undefined ? undefined : setTimeout(act, Math.min(timeoutMs, longestTimerMs));
}

/** Reads an answer's body as text. @throws RangeError when it has more than 1 MiB */
export async function readText(body: AsyncIterable<Buffer>): Promise<string> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of body) {
    bytes += chunk.length;
    if (bytes > maximumTextBytes) throw new RangeError(`answer has more than ${maximumTextBytes} bytes`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString();
}

function redirectTarget(from: URL, status: number, location: string | string[] | undefined): URL | undefined {
  if (!redirectStatuses.includes(status) || typeof location !== 'string') return undefined;
  if (!URL.canParse(location, from.href)) return undefined;
  const target = new URL(location, from);
  if (target.protocol !== 'http:' && target.protocol !== 'https:') return undefined;
  if (target.host === from.host && target.protocol === from.protocol && !credentialsOf(target)) {
    target.username = from.username;
    target.password = from.password;
  }
  return target;
}
