import type { IncomingMessage, ServerResponse } from 'node:http';
import { isSameSecret } from '../http/secret.js';
import type { Registry } from './registry.js';

export interface StatusOptions {
  registry: Registry;
  user: string;
  password: string;
  isHealthy(): boolean;
}

/** Answers what operators ask: `/health` of anybody, `/routes` of who knows the password (docs/protocol/edge.md §1.4). */
export class Status {
  constructor(private readonly options: StatusOptions) {}

  handle(request: IncomingMessage, response: ServerResponse): void {
    const [path] = (request.url ?? '').split('?');
    if (path === '/health') {
      answerHealth(response, this.options.isHealthy());
      return;
    }
    if (!this.isAuthorized(request)) {
      response.writeHead(401, { 'Www-Authenticate': 'Basic' }).end();
      return;
    }
    if (path !== '/routes') {
      response.writeHead(404).end();
      return;
    }
    response.writeHead(200, { 'Content-Type': 'application/json' });
    response.end(JSON.stringify(this.options.registry.describe()));
  }

  private isAuthorized({ headers }: IncomingMessage): boolean {
    const { user, password } = this.options;
    const [scheme = '', token = ''] = (headers.authorization ?? '').split(' ');
    const given = Buffer.from(token, 'base64').toString();
    return scheme.toLowerCase() === 'basic' && isSameSecret(given, `${user}:${password}`);
  }
}

/** The answer to whoever watches over the router. */
export function answerHealth(response: ServerResponse, isHealthy: boolean): void {
  response.writeHead(isHealthy ? 200 : 503, {
    'Cache-Control': 'private, max-age=0',
    Expires: '0',
    Connection: 'close',
  });
  response.end(isHealthy ? 'ok\n' : '');
}
