import { STATUS_CODES, validateHeaderValue } from 'node:http';
import type { RouterFailure } from './failures.js';

/** The reason phrase of a status, as upstream's router spells those without a name. */
export function reasonOf(status: number): string {
  return STATUS_CODES[status] ?? `status code ${status}`;
}

/** Headers of an answer that the router gives itself. */
export function failureHeaders({ body, reason, headers }: RouterFailure): Record<string, string> {
  return {
    ...(body !== '' && { 'Content-Type': 'text/plain; charset=utf-8', 'X-Content-Type-Options': 'nosniff' }),
    ...(reason !== '' && { 'X-Cf-RouterError': reason }),
    ...headers,
    'Content-Length': String(Buffer.byteLength(body)),
  };
}

/**
 * Head of an answer, for connections that the HTTP library has let go.
 *
 * @param headers name and value in turn
 * @throws TypeError when a value is not fit for a header
 */
export function rawHead(status: number, headers: string[]): Buffer {
  const lines = [`HTTP/1.1 ${status} ${reasonOf(status)}`];
  for (let position = 0; position < headers.length; position += 2) {
    const [name = '', value = ''] = headers.slice(position, position + 2);
    validateHeaderValue(name, value);
    lines.push(`${name}: ${value}`);
  }
  return Buffer.from(`${lines.join('\r\n')}\r\n\r\n`, 'latin1');
}

/** A whole answer of the router itself, for connections that the HTTP library has let go. */
export function rawFailure(failure: RouterFailure): Buffer {
  const headers = Object.entries({ ...failureHeaders(failure), Connection: 'close' }).flat();
  return Buffer.concat([rawHead(failure.status, headers), Buffer.from(failure.body)]);
}
