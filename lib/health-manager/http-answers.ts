import type { ServerResponse } from 'node:http';

const text = { 'Content-Type': 'text/plain; charset=utf-8', 'X-Content-Type-Options': 'nosniff' };

/** The answers of Go's standard library, which upstream's clients know (docs/protocol/health-manager.md §2.1). */
export function answerNotFound(response: ServerResponse): void {
  response.writeHead(404, text).end('404 page not found\n');
}

export function answerMethodNotAllowed(response: ServerResponse, allowed: string): void {
  response.writeHead(405, { ...text, Allow: allowed }).end('Method Not Allowed\n');
}

export function answerUnauthorized(response: ServerResponse, realm: string): void {
  response.writeHead(401, { 'WWW-Authenticate': `Basic realm="${realm}"`, 'Content-Length': 0 }).end();
}

export function answerJson(response: ServerResponse, body: Buffer): void {
  response.writeHead(200, { 'Content-Type': 'application/json', 'Content-Length': body.length }).end(body);
}
