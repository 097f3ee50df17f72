import { once, setMaxListeners } from 'node:events';
import { type IncomingMessage, type RequestOptions, request } from 'node:http';
import type { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { encodeJson, type JsonValue } from '../json/encode.js';
import { errorFrom } from '../messages/errors.js';
import { type PathParameters, type RouteName, routeTo } from '../routes.js';

/** Where a Garden server is. */
export type ServerAddress = { kind: 'unix'; path: string } | { kind: 'tcp'; host: string; port: number };

export interface Call {
  name: RouteName;
  parameters?: PathParameters;
  query?: Record<string, string | undefined>;
  body?: JsonValue;
}

/** The connection was not made or broke off. */
export class ConnectionError extends Error {}

/** Calls of the Garden API, each on a connection of its own, as Go's client makes them. */
export class GardenCalls {
  readonly #address: ServerAddress;
  readonly #closing = new AbortController();

  constructor(address: ServerAddress) {
    this.#address = address;
    // One for each call that is under way, however many there are.
    setMaxListeners(0, this.#closing.signal);
  }

  /** The answer's body. @throws the server's error; ConnectionError */
  async call({ body, ...call }: Call): Promise<Buffer> {
    const text = body === undefined ? undefined : encodeJson(body);
    const outgoing = this.#request(call, text === undefined ? {} : jsonHeaders(text));
    const answer = once(outgoing, 'response');
    outgoing.end(text);
    return readAnswer(await answered(answer));
  }

  /** Sends a stream. @throws the server's error, the stream's, or ConnectionError */
  async send(call: Call, source: Readable): Promise<void> {
    const outgoing = this.#request(call, { 'Content-Type': 'application/x-tar' });
    const answer = answered(once(outgoing, 'response')).then(readAnswer);
    // The server may refuse before it has everything; its reason counts more than the broken connection.
    answer.catch(() => {});
    try {
      await pipeline(source, outgoing);
    } catch (error) {
      if (source.errored) throw source.errored;
      await answer;
      throw error;
    }
    await answer;
  }

  /** The answer's body as a stream; it fails when the server breaks off. */
  async receive(call: Call): Promise<Readable> {
    const outgoing = this.#request(call, {});
    const answer = once(outgoing, 'response');
    outgoing.end();
    const response = await answered(answer);
    if (response.statusCode !== 200) await readAnswer(response);
    return response;
  }

  /** Breaks off what is under way. Idempotent. */
  close(): void {
    this.#closing.abort();
  }

  #request({ name, parameters, query }: Call, headers: RequestOptions['headers']) {
    const { method, path } = routeTo(name, parameters);
    return request({
      ...connectOptions(this.#address),
      method,
      path: `${path}${queryText(query)}`,
      headers: { Host: 'api', Connection: 'close', ...headers },
      agent: false,
      signal: this.#closing.signal,
    });
  }
}

/** What `net.connect` and `http.request` call an address. */
export function connectOptions(address: ServerAddress): { socketPath: string } | { host: string; port: number } {
  return address.kind === 'unix' ? { socketPath: address.path } : { host: address.host, port: address.port };
}

export function jsonHeaders(text: string): Record<string, string> {
  return { 'Content-Type': 'application/json', 'Content-Length': String(Buffer.byteLength(text)) };
}

/** The error that an answer with a status of failure tells of. */
export function failureFrom(status: number, text: Buffer): Error {
  return errorFrom(text) ?? new Error(`bad response: ${status} ${text.toString().trim()}`);
}

function queryText(query: Call['query']): string {
  const given = Object.entries(query ?? {}).filter((entry): entry is [string, string] => entry[1] !== undefined);
  return given.length === 0 ? '' : `?${new URLSearchParams(given)}`;
}

async function answered(answer: Promise<unknown[]>): Promise<IncomingMessage> {
  try {
    const [response] = await answer;
    return response as IncomingMessage;
  } catch (cause) {
    throw new ConnectionError(`garden: ${(cause as Error).message}`, { cause });
  }
}

async function readAnswer(response: IncomingMessage): Promise<Buffer> {
  const parts: Buffer[] = [];
  try {
    for await (const part of response) parts.push(part);
  } catch (cause) {
    throw new ConnectionError(`garden: ${(cause as Error).message}`, { cause });
  }
  const text = Buffer.concat(parts);
  const status = response.statusCode ?? 0;
  if (status < 200 || status > 299) throw failureFrom(status, text);
  return text;
}
