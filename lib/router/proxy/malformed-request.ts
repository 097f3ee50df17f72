import type { IncomingMessage } from 'node:http';

/** Characters that Go's HTTP server takes for a host. */
const hostPattern = /^[\w!$%&'()*+,\-.:;=[\]~]*$/;

/**
 * What is written to the connection before it is closed, when a request cannot be told apart from an attack on whoever
 * reads it next; undefined when the request is well-formed (docs/protocol/edge.md §1.5, steps 3 and 4).
 */
export function malformedRequest({ httpVersion, rawHeaders }: IncomingMessage): string | undefined {
  if (httpVersion !== '1.1' && httpVersion !== '1.0') return 'HTTP/1.0 400 Bad Request\r\n\r\n';
  const hosts = rawHeaders.filter(
    (_, position) => position % 2 === 1 && rawHeaders[position - 1]!.toLowerCase() === 'host',
  );
  if (hosts.length > 1) return badRequest('too many Host headers');
  if (hosts.length === 0 && httpVersion === '1.1') return badRequest('missing required Host header');
  if (hosts.some((host) => !hostPattern.test(host))) return badRequest('malformed Host header');
  return undefined;
}

/** As Go's HTTP server answers. */
export function badRequest(reason: string): string {
  const text = `400 Bad Request: ${reason}`;
  return `HTTP/1.1 ${text}\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\n\r\n${text}`;
}
