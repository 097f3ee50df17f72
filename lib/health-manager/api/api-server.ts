import type { IncomingMessage, ServerResponse } from 'node:http';
import { z } from 'zod';
import { hasCredentials } from '../../http/basic-auth.js';
import { readBody } from '../../http/body.js';
import { HttpListener } from '../../http/listener.js';
import type { Credentials } from '../../http/url.js';
import { errorData, type Logger } from '../../logging/logger.js';
import { answerJson, answerMethodNotAllowed, answerNotFound, answerUnauthorized } from '../http-answers.js';
import type { HealthStore } from '../store/health-store.js';
import { AnswerBuffers } from './answer-buffers.js';
import type { AppStateReport } from './app-state.js';

export interface ApiServerOptions {
  host: string;
  port: number;
  credentials: Credentials;
  report: AppStateReport;
  store: HealthStore;
  /** Seconds that a hold lasts when its request does not say. */
  defaultHoldSeconds: number;
  logger: Logger;
}

const nothing = Buffer.from('{}');
const appStatePath = '/bulk_app_state';
/** Guids need no escapes. */
const holdPath = /^\/migration_holds\/([\w.~-]{1,255})$/;
const maximumBytes = 16 * 1024 * 1024;
const maximumHoldSeconds = 24 * 3600;
const limits = { headersMs: 10_000, requestMs: 30_000, connections: 10_000 };

const holdSchema = z.object({ seconds: z.int().positive().max(maximumHoldSeconds).optional() });

/**
 * What Cloud Controllers ask over HTTP (docs/protocol/health-manager.md §8.1), and where whoever hands an app over to
 * the other control plane holds its stops: `PUT /migration_holds/<app guid>` with `{"seconds": 180}` or an empty body,
 * and `DELETE`.
 */
export class ApiServer {
  readonly #server: HttpListener;
  readonly #buffers = new AnswerBuffers();

  constructor(private readonly options: ApiServerOptions) {
    const { host, port } = options;
    this.#server = new HttpListener({
      host,
      port,
      limits,
      handle: (request, response) => this.#handle(request, response),
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

  async #handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    if (!hasCredentials(request.headers.authorization, this.options.credentials)) {
      return answerUnauthorized(response, 'API Authentication');
    }
    const path = request.url?.split('?')[0] ?? '';
    if (path === appStatePath) {
      if (request.method !== 'POST') return answerMethodNotAllowed(response, 'POST');
      return this.#answerAppStates(request, response);
    }
    const [, app] = holdPath.exec(path) ?? [];
    if (app === undefined) return answerNotFound(response);
    return this.#changeHold(request, response, app);
  }

  /** Whatever goes wrong, the answer is that nothing is known: any other would send the Cloud Controller elsewhere. */
  async #answerAppStates(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { report, logger } = this.options;
    const allocate = (bytes: number) => {
      const lease = this.#buffers.lease(bytes);
      response.once('finish', () => lease.end());
      return lease.bytes;
    };
    let answer: Buffer = nothing;
    try {
      answer = await report.ofBody(await readBody(request, maximumBytes), allocate);
    } catch (error) {
      logger.error('Failed to answer bulk_app_state', errorData(error));
    }
    answerJson(response, answer);
  }

  async #changeHold(request: IncomingMessage, response: ServerResponse, app: string): Promise<void> {
    const { store, defaultHoldSeconds, logger } = this.options;
    if (request.method === 'DELETE') {
      await store.releaseApp(app);
      logger.info('Released the stops of an app', { app });
      response.writeHead(204).end();
      return;
    }
    if (request.method !== 'PUT') return answerMethodNotAllowed(response, 'PUT, DELETE');
    const hold = readHold((await readBody(request, maximumBytes)).toString());
    if (typeof hold === 'string') {
      response.writeHead(400, { 'Content-Type': 'text/plain; charset=utf-8' }).end(`${hold}\n`);
      return;
    }
    const seconds = hold.seconds ?? defaultHoldSeconds;
    await store.holdApp(app, seconds);
    logger.info('Holding the stops of an app', { app, seconds });
    response.writeHead(204).end();
  }
}

/** @returns the hold, or what is wrong with it */
function readHold(text: string): z.output<typeof holdSchema> | string {
  let document: unknown;
  try {
    document = text.trim() === '' ? {} : JSON.parse(text);
  } catch {
    return 'not JSON';
  }
  const hold = holdSchema.safeParse(document);
  return hold.success ? hold.data : z.prettifyError(hold.error);
}
