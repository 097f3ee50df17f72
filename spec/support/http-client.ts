import { once } from 'node:events';
import { type IncomingHttpHeaders, type IncomingMessage, request } from 'node:http';

export interface Answer {
  status: number;
  headers: IncomingHttpHeaders;
  rawHeaders: string[];
  body: string;
}

export interface Asked {
  port: number;
  /** Path and query exactly as they go over the wire. */
  path: string;
  method?: string;
  headers?: Record<string, string>;
}

/** Sends one request and gives its answer when the headers are there; the body is for the caller to read. */
export async function ask({ port, path, method = 'GET', headers = {} }: Asked): Promise<IncomingMessage> {
  const sent = request({ host: '127.0.0.1', port, path, method, headers, agent: false }).end();
  const [response] = (await once(sent, 'response')) as [IncomingMessage];
  return response;
}

/** Sends one request and reads the answer to its end. @throws when the connection is cut before */
export async function askWhole(asked: Asked): Promise<Answer> {
  const response = await ask(asked);
  const chunks: Buffer[] = [];
  for await (const chunk of response) chunks.push(chunk as Buffer);
  const { statusCode = 0, headers, rawHeaders } = response;
  return { status: statusCode, headers, rawHeaders, body: Buffer.concat(chunks).toString() };
}
