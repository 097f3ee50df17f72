import { once } from 'node:events';
import { type ClientRequest, type IncomingHttpHeaders, type IncomingMessage, request } from 'node:http';

/** An answer as it came over the wire. */
export interface RawAnswer {
  status: number;
  headers: IncomingHttpHeaders;
  body: Buffer;
}

export interface RawQuestion {
  /** @default POST */
  method?: string;
  /** @default none */
  body?: Buffer;
  /** @default the content type of messages */
  headers?: Record<string, string>;
}

const contentType = { 'Content-Type': 'application/x-protobuf' };

/** Sends any bytes to a path, also with methods that have no body elsewhere, and reads the answer to its end. */
export async function exchange(url: string, question: RawQuestion = {}): Promise<RawAnswer> {
  const response = await begin(url, question);
  const chunks: Buffer[] = [];
  for await (const chunk of response) chunks.push(chunk as Buffer);
  return { status: response.statusCode ?? 0, headers: response.headers, body: Buffer.concat(chunks) };
}

/** The same, until the headers are there: of a stream, the rest is the caller's. */
export async function begin(url: string, question: RawQuestion = {}): Promise<IncomingMessage> {
  const { method = 'POST', body = Buffer.alloc(0), headers = contentType } = question;
  const sent: ClientRequest = request(url, {
    method,
    headers: { ...headers, 'Content-Length': String(body.length) },
    agent: false,
  });
  sent.end(body);
  const [response] = (await once(sent, 'response')) as [IncomingMessage];
  return response;
}
