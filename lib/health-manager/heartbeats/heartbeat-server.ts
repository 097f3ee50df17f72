import type { IncomingMessage, ServerResponse } from 'node:http';
import type { TlsOptions } from 'node:tls';
import { readBody } from '../../http/body.js';
import { HttpListener } from '../../http/listener.js';
import { answerMethodNotAllowed, answerNotFound } from '../http-answers.js';
import type { Listener } from './listener.js';

export interface HeartbeatServerOptions {
  host: string;
  port: number;
  /** Key and certificate of the server, and the authority whose agents it serves. */
  tls: TlsOptions;
  listener: Listener;
}

const path = '/dea/heartbeat';
/** A cell of 10,000 instances says less. */
const maximumBytes = 8 * 1024 * 1024;
const limits = { headersMs: 10_000, requestMs: 30_000, connections: 10_000 };

/** Takes heartbeats over mutual TLS (docs/protocol/health-manager.md §2.1). */
export class HeartbeatServer {
  readonly #server: HttpListener;

  constructor({ host, port, tls, listener }: HeartbeatServerOptions) {
    this.#server = new HttpListener({
      host,
      port,
      tls: { ...tls, minVersion: 'TLSv1.2', requestCert: true, rejectUnauthorized: true },
      limits,
      handle: (request, response) => handle(request, response, listener),
    });
  }

  /** @throws when the port is taken */
  start(): Promise<void> {
    return this.#server.start();
  }

  get port(): number {
    return this.#server.port;
  }

  /** Idempotent. */
  stop(): Promise<void> {
    return this.#server.stop();
  }
}

async function handle(request: IncomingMessage, response: ServerResponse, listener: Listener): Promise<void> {
  if (request.url?.split('?')[0] !== path) return answerNotFound(response);
  if (request.method !== 'POST') return answerMethodNotAllowed(response, 'POST');
  response.writeHead(await statusOf(request, listener), { 'Content-Length': 0 }).end();
}

/** What cannot be read, is too large or was cut off is one thing to an agent. */
async function statusOf(request: IncomingMessage, listener: Listener): Promise<number> {
  try {
    listener.receive(await readBody(request, maximumBytes));
    return 202;
  } catch {
    return 400;
  }
}
