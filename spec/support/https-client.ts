import { request } from 'node:https';
import type { SecureContextOptions } from 'node:tls';
import type { Answer } from './http-client.js';

export interface SecureAsked extends SecureContextOptions {
  port: number;
  path: string;
  /** @default POST */
  method?: string;
  headers?: Record<string, string>;
  body?: string | Buffer;
  /** Of the server. @default not looked at */
  serverCa?: Buffer;
}

/** Sends one request over TLS, on a connection of its own. @throws when the connection or its handshake fails */
export function askSecurely(asked: SecureAsked): Promise<Answer> {
  const { body = '', method = 'POST', headers = {}, serverCa, port, path, ...tls } = asked;
  return new Promise((resolve, reject) => {
    const sent = request(
      {
        ...tls,
        host: '127.0.0.1',
        port,
        path,
        method,
        headers: { ...(method === 'POST' && { 'Content-Length': Buffer.byteLength(body) }), ...headers },
        agent: false,
        rejectUnauthorized: serverCa !== undefined,
        ...(serverCa && { ca: serverCa }),
      },
      (response) => {
        const chunks: Buffer[] = [];
        response.on('data', (chunk: Buffer) => chunks.push(chunk));
        response.once('error', reject);
        response.once('end', () =>
          resolve({
            status: response.statusCode ?? 0,
            headers: response.headers,
            rawHeaders: response.rawHeaders,
            body: Buffer.concat(chunks).toString(),
          }),
        );
      },
    );
    sent.once('error', reject);
    sent.end(body);
  });
}
