import type { IncomingMessage, ServerResponse } from 'node:http';
import { type Duplex, pipeline, type Writable } from 'node:stream';
import { isSameSecret } from '../../http/secret.js';
import { errorData, type Logger } from '../../logging/logger.js';
import type { AccessLog } from '../access-log.js';
import { addressOf } from '../pool.js';
import { chooseDestination, type Destination, type DestinationOptions } from './destination.js';
import type { Answer } from './exchange.js';
import { ClientGoneError, DeadlineError, RouterFailure, refusals } from './failures.js';
import type { Forwarder } from './forwarder.js';
import { headersForClient, valuesOf } from './headers.js';
import { malformedRequest } from './malformed-request.js';
import { Passage } from './passage.js';
import { failureHeaders, rawFailure, rawHead, reasonOf } from './raw-answers.js';
import { sendBody, sendUpgradeBody } from './request-body.js';
import { type StickyCookieOptions, stickyCookieFor } from './sticky-session.js';
import { joinConnections } from './tunnel.js';

export interface ReverseProxyOptions extends DestinationOptions, StickyCookieOptions {
  forwarder: Forwarder;
  accessLog: AccessLog;
  /** For a whole exchange; WebSockets have no limit. */
  exchangeTimeoutMs: number;
  /** Clients that know it are told which router and which endpoint answered. */
  traceKey: string | undefined;
  /** The router's address, for those. */
  routerAddress: string;
  logger: Logger;
}

/**
 * Forwards requests to the endpoints of their routes (docs/protocol/edge.md §1.5):
 *
 *     request -> Passage -> Destination -> Forwarder (dial, exchange; the next one) -> answer -> access log
 *                                \______________\___ RouterFailure -> the router's own answer ___/
 */
export class ReverseProxy {
  constructor(private readonly options: ReverseProxyOptions) {}

  /** Handles an ordinary request to the end of its answer; never rejects. */
  async handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const passage = new Passage(request);
    const exchanging = new AbortController();
    const deadline = setTimeout(() => exchanging.abort(new DeadlineError()), this.options.exchangeTimeoutMs);
    const closed = whenClosed(response, request).then(() => {
      clearTimeout(deadline);
      exchanging.abort(new ClientGoneError());
    });
    const problem = malformedRequest(request);
    if (problem !== undefined) {
      passage.status = 400;
      request.socket.end(problem);
    } else {
      try {
        const destination = chooseDestination(passage, this.options);
        const answer = await this.options.forwarder.forward(
          passage,
          destination,
          { asksUpgrade: false, sendBody: passage.hasBody ? (to) => takeBody(passage, response, to) : undefined },
          exchanging.signal,
        );
        this.relay(passage, destination, answer, response);
      } catch (error) {
        this.refuse(passage, response, this.failureOf(error, passage));
      }
    }
    await closed;
    this.options.accessLog.write(passage.record());
  }

  /** Handles a request for another protocol until its connection closes; never rejects. */
  async handleUpgrade(request: IncomingMessage, socket: Duplex, head: Buffer): Promise<void> {
    const passage = new Passage(request);
    const exchanging = new AbortController();
    const closed = new Promise<void>((resolve) => socket.once('close', resolve));
    void closed.then(() => exchanging.abort(new ClientGoneError()));
    socket.on('error', () => socket.destroy());
    if (head.length > 0) socket.unshift(head);
    const problem = malformedRequest(request);
    if (problem !== undefined) {
      passage.status = 400;
      socket.end(problem);
    } else {
      try {
        await this.upgrade(passage, socket, exchanging);
      } catch (error) {
        const failure = this.failureOf(error, passage);
        passage.status = failure.status;
        passage.routerError = failure.reason;
        socket.end(rawFailure(failure), () => socket.destroy());
      }
    }
    await closed;
    this.options.accessLog.write(passage.record());
  }

  private async upgrade(passage: Passage, client: Duplex, exchanging: AbortController): Promise<void> {
    const { request } = passage;
    const protocol = request.headers.upgrade?.toLowerCase();
    if (protocol === 'tcp') throw refusals.upgradeUnsupported();
    if (request.headers['transfer-encoding'] !== undefined) throw refusals.chunkedUpgrade();
    // Whoever asks for anything else, HTTP/2 for example, gets an ordinary answer, and no way around the router.
    const asksUpgrade = protocol === 'websocket';
    const deadline = asksUpgrade
      ? undefined
      : setTimeout(() => exchanging.abort(new DeadlineError()), this.options.exchangeTimeoutMs);
    client.once('close', () => clearTimeout(deadline));
    const destination = chooseDestination(passage, this.options);
    const answer = await this.options.forwarder.forward(
      passage,
      destination,
      { asksUpgrade, sendBody: passage.hasBody ? (to) => takeUpgradeBody(passage, client, to) : undefined },
      exchanging.signal,
    );
    const headers = this.answerHeaders(passage, destination, answer);
    const status = answer.message.statusCode!;
    if (answer.switched) {
      client.write(rawHead(status, [...headers, 'Connection', 'Upgrade', 'Upgrade', request.headers.upgrade!]));
      passage.status = status;
      this.join(passage, client, answer.switched);
      return;
    }
    client.write(rawHead(status, [...headers, 'Connection', 'close']));
    passage.status = status;
    countAnswer(passage, answer.message);
    pipeline(answer.message, client, () => {
      passage.markAnswered();
      client.destroy();
    });
  }

  private join(passage: Passage, client: Duplex, { socket: backend, head }: NonNullable<Answer['switched']>): void {
    if (head.length > 0) backend.unshift(head);
    joinConnections({
      client,
      backend,
      onSent: (bytes) => {
        passage.bytesSent += bytes;
      },
      onReceived: (bytes) => {
        passage.bytesReceived += bytes;
      },
    });
  }

  private relay(passage: Passage, destination: Destination, answer: Answer, response: ServerResponse): void {
    const { message } = answer;
    const status = message.statusCode!;
    closeWithoutBody(passage, response);
    response.writeHead(status, reasonOf(status), this.answerHeaders(passage, destination, answer));
    response.flushHeaders();
    passage.status = status;
    countAnswer(passage, message);
    // An answer that breaks off cuts the client's connection: there is no other way left to say so.
    pipeline(message, response, () => passage.markAnswered());
  }

  private answerHeaders(passage: Passage, destination: Destination, { message }: Answer): string[] {
    const { traceKey, routerAddress } = this.options;
    const endpoint = passage.endpoint!;
    const headers = headersForClient(message.rawHeaders, message.headers.connection);
    if (valuesOf(headers, 'x-vcap-request-id').length === 0) headers.push('X-Vcap-Request-Id', passage.requestId);
    const cookie = stickyCookieFor(
      valuesOf(headers, 'set-cookie'),
      destination.stickyId,
      endpoint,
      destination.pool.contextPath,
      this.options,
    );
    if (cookie !== undefined) headers.push('Set-Cookie', cookie);
    if (traceKey !== undefined && isSameSecret(String(passage.request.headers['x-vcap-trace'] ?? ''), traceKey)) {
      headers.push('X-Vcap-Router', routerAddress, 'X-Vcap-Backend', addressOf(endpoint));
      headers.push('X-Cf-RouteEndpoint', addressOf(endpoint));
    }
    return headers;
  }

  private refuse(passage: Passage, response: ServerResponse, failure: RouterFailure): void {
    passage.routerError = failure.reason;
    passage.status = failure.status;
    if (response.headersSent || response.destroyed) {
      response.destroy();
      return;
    }
    closeWithoutBody(passage, response);
    response.writeHead(failure.status, reasonOf(failure.status), failureHeaders(failure));
    response.end(failure.body);
    passage.bytesSent = passage.request.method === 'HEAD' ? 0 : Buffer.byteLength(failure.body);
  }

  /** What is no failure of the router's own making comes from an answer that cannot be passed on. */
  private failureOf(error: unknown, passage: Passage): RouterFailure {
    if (error instanceof RouterFailure) return error;
    this.options.logger.error('proxy.answer.error', { request_id: passage.requestId, ...errorData(error) });
    return new RouterFailure(
      502,
      'endpoint_failure (malformed HTTP response)',
      '502 Bad Gateway: Registered endpoint failed to handle the request.\n',
    );
  }
}

function takeBody(passage: Passage, response: ServerResponse, destination: Writable): void {
  if (passage.expectsContinue) response.writeContinue();
  sendBody(passage, destination);
}

function takeUpgradeBody(passage: Passage, client: Duplex, destination: Writable): void {
  if (passage.expectsContinue) client.write('HTTP/1.1 100 Continue\r\n\r\n');
  sendUpgradeBody(passage, client, destination);
}

/** A client that was not asked for its body may send it or not: what comes next cannot be told. */
function closeWithoutBody(passage: Passage, response: ServerResponse): void {
  if (passage.expectsContinue && !passage.isBodyTaken) response.shouldKeepAlive = false;
}

function countAnswer(passage: Passage, message: IncomingMessage): void {
  message.on('data', (chunk: Buffer) => {
    passage.bytesSent += chunk.length;
  });
}

/** A response that is not yet given to its connection is not told when that closes. */
function whenClosed(response: ServerResponse, { socket }: IncomingMessage): Promise<void> {
  if (socket.destroyed) return Promise.resolve();
  return new Promise((resolve) => {
    const finish = () => {
      response.off('close', finish);
      socket.off('close', finish);
      resolve();
    };
    response.once('close', finish);
    socket.once('close', finish);
  });
}
