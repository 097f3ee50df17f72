import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import express, { type ErrorRequestHandler, type Router } from 'express';
import { errorData, type Logger } from '../../logging/logger.js';
import { ApiError, asApiError } from '../errors.js';

export interface HttpServerOptions {
  host: string;
  /** 0 takes any free port. */
  port: number;
  /** Takes another free port when the wished one is taken. */
  portFallback: boolean;
  logger: Logger;
}

/** Slow uploads and staging requests, which wait for the stager, need their time. */
const requestTimeoutMs = 900_000;
/** Requests under way may go on for so long at a stop. */
const stopGraceMs = 1000;

/** The HTTP server: first bound to its port, so that its address is known, then given its routes. */
export class HttpServer {
  private server: Server | undefined;

  constructor(private readonly options: HttpServerOptions) {}

  /** Binds the port; requests wait until `serve`. @throws when the port is taken and there is no fallback */
  async bind(): Promise<void> {
    const { host, port, portFallback, logger } = this.options;
    const server = createServer();
    server.requestTimeout = requestTimeoutMs;
    this.server = server;
    try {
      await listen(server, host, port);
    } catch (error) {
      if (!portFallback || (error as NodeJS.ErrnoException).code !== 'EADDRINUSE') throw error;
      await listen(server, host, 0);
      logger.warn('mini-cc.port.taken', { wished: port, taken: this.port });
    }
  }

  get port(): number {
    return (this.server!.address() as AddressInfo).port;
  }

  /** Answers requests from now on. */
  serve(routers: Router[]): void {
    const app = express();
    app.disable('x-powered-by');
    app.set('query parser', 'simple');
    for (const router of routers) app.use(router);
    app.use(() => {
      throw new ApiError('NotFound');
    });
    app.use(answerError(this.options.logger));
    this.server!.on('request', app);
  }

  /** Ends what is under way, after a short grace time, and frees the port. Idempotent. */
  async stop(): Promise<void> {
    const { server } = this;
    if (!server?.listening) return;
    const closed = new Promise<void>((resolve) => server.close(() => resolve()));
    server.closeIdleConnections();
    const timer = setTimeout(() => server.closeAllConnections(), stopGraceMs);
    await closed;
    clearTimeout(timer);
  }
}

function listen(server: Server, host: string, port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(port, host, () => {
      server.off('error', reject);
      resolve();
    });
  });
}

/** Every error is answered in the API's form; what is unexpected is logged and tells the client nothing. */
function answerError(logger: Logger): ErrorRequestHandler {
  return (error: unknown, request, response, next) => {
    if (response.headersSent) return next(error);
    const apiError = isParseError(error) ? new ApiError('MessageParseError', error.message) : asApiError(error);
    if (apiError.name === 'ServerError') {
      logger.error('mini-cc.request.failed', { method: request.method, path: request.path, ...errorData(error) });
    }
    response.status(apiError.status).json(apiError);
  };
}

/** What the JSON parser or the router throws for a malformed request. */
function isParseError(error: unknown): error is Error {
  const status = error instanceof Error ? (error as { status?: unknown }).status : undefined;
  return typeof status === 'number' && status >= 400 && status < 500 && !(error instanceof ApiError);
}
