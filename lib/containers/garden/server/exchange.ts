import type { IncomingMessage, ServerResponse } from 'node:http';
import { encodeJson, type JsonValue } from '../json/encode.js';
import { errorAnswer } from '../messages/errors.js';
import type { PathParameters } from '../routes.js';
import type { GatedConnection, TakenConnection } from './gated-connection.js';

/** A body of JSON may not be longer: reading it takes its time, and others wait. */
const maximumBodyBytes = 16 * 1024 * 1024;

export interface ExchangeOptions {
  request: IncomingMessage;
  response: ServerResponse;
  connection: GatedConnection;
  parameters: PathParameters;
  query: URLSearchParams;
}

/** One request and its answer. */
export class Exchange {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  readonly query: URLSearchParams;
  readonly #connection: GatedConnection;
  readonly #parameters: PathParameters;

  constructor({ request, response, connection, parameters, query }: ExchangeOptions) {
    this.request = request;
    this.response = response;
    this.query = query;
    this.#connection = connection;
    this.#parameters = parameters;
  }

  /** A part of the path, decoded. */
  parameter(name: string): string {
    return this.#parameters[name] ?? '';
  }

  get handle(): string {
    return this.parameter('handle');
  }

  /** @throws when the client breaks off, or sends too much */
  async body(): Promise<Buffer> {
    const parts: Buffer[] = [];
    let length = 0;
    for await (const part of this.request.iterator({ destroyOnReturn: false })) {
      length += part.length;
      if (length > maximumBodyBytes) throw new Error('http: request body too large');
      parts.push(part);
    }
    return Buffer.concat(parts);
  }

  answer(body: JsonValue, status = 200): void {
    const text = encodeJson(body);
    this.#send(status, 'application/json', text);
  }

  answerText(text: string, status: number, headers: Record<string, string> = {}): void {
    this.#send(status, 'text/plain; charset=utf-8', text, { 'X-Content-Type-Options': 'nosniff', ...headers });
  }

  /** After the first byte of an answer only a broken connection can tell of a failure. */
  fail(error: unknown): void {
    if (this.response.headersSent) {
      this.response.destroy();
      return;
    }
    const { status, body } = errorAnswer(error);
    this.answer(body, status);
  }

  /** Begins an answer that has no end in HTTP's terms, and gives the connection away (§2.5). */
  takeOver(status: '201 Created' | '200 OK', headers: string[] = []): TakenConnection {
    const taken = this.#connection.takeOver();
    // Go's clients want this header and then read bytes that are not chunked, as Go's servers send them.
    const head = [`HTTP/1.1 ${status}`, ...headers, `Date: ${new Date().toUTCString()}`, 'Transfer-Encoding: chunked'];
    taken.socket.write(`${head.join('\r\n')}\r\n\r\n`);
    return taken;
  }

  #send(status: number, type: string, text: string, headers: Record<string, string> = {}): void {
    // The rest of a body that nobody wanted stands between the client and its answer.
    this.request.resume();
    this.response.writeHead(status, {
      'Content-Type': type,
      'Content-Length': String(Buffer.byteLength(text)),
      ...headers,
    });
    this.response.end(text);
  }
}
