import { once } from 'node:events';
import { createServer, type IncomingMessage, type RequestListener, type ServerResponse } from 'node:http';
import { createServer as createSecureServer } from 'node:https';
import type { AddressInfo, Socket } from 'node:net';
import { type BbsEvent, encodeEvent } from '../../lib/bbs/decisions/events/event.js';
import { decode, encode } from '../../lib/bbs/messages/codec.js';
import type { MessageType } from '../../lib/bbs/messages/message-type.js';
import {
  type CallName,
  type CallRoute,
  findRoute,
  type RequestOf,
  type ResponseOf,
  type RouteName,
  routes,
} from '../../lib/bbs/routes.js';
import type { Certificate } from './certificates.js';
import { eventually } from './eventually.js';
import { bodyOf } from './http-server.js';

/** What a client asked. */
export interface PlayedRequest {
  method: string;
  path: string;
  headers: IncomingMessage['headers'];
  body: Buffer;
  /** The body as the message that the route has. */
  message: object;
}

type Answers = { [Name in CallName]?: (request: RequestOf<Name>) => Partial<ResponseOf<Name>> };

/** Answers a request in any way at all. */
export type RawAnswer = (request: PlayedRequest, response: ServerResponse) => void;

/**
 * A Bulletin Board System that says what the spec tells it to say, in the protocol's framing (docs/protocol/bbs.md §1,
 * §11.1). Routes without an answer are not there.
 */
export class PlayedBbs {
  readonly requests: PlayedRequest[] = [];
  readonly streams: PlayedStream[] = [];
  /** Messages by route. */
  answers: Answers = {};
  /** By path; go before the messages, also for streams. */
  rawAnswers: Record<string, RawAnswer> = {};
  private readonly server;
  private readonly sockets = new Set<Socket>();

  private constructor(private readonly tls: { own: Certificate; authorityCert: Buffer } | undefined) {
    const listener: RequestListener = (request, response) => void this.take(request, response);
    this.server = tls
      ? createSecureServer(
          { key: tls.own.key, cert: tls.own.cert, ca: tls.authorityCert, requestCert: true, rejectUnauthorized: true },
          listener,
        )
      : createServer(listener);
    this.server.on('connection', (socket: Socket) => {
      this.sockets.add(socket);
      socket.once('close', () => this.sockets.delete(socket));
    });
  }

  /** @param tls mutual TLS; @default plain HTTP */
  static async start(tls?: { own: Certificate; authorityCert: Buffer }): Promise<PlayedBbs> {
    const bbs = new PlayedBbs(tls);
    bbs.server.listen(0, '127.0.0.1');
    await once(bbs.server, 'listening');
    return bbs;
  }

  get url(): string {
    return `${this.tls ? 'https' : 'http'}://127.0.0.1:${(this.server.address() as AddressInfo).port}`;
  }

  /** How many connections there are. */
  get connections(): number {
    return this.sockets.size;
  }

  /** Forgets what was asked, and all answers; cuts what is left of streams. */
  reset(): void {
    for (const stream of this.streams) stream.cut();
    this.requests.length = 0;
    this.streams.length = 0;
    this.answers = {};
    this.rawAnswers = {};
  }

  /** Waits for the so-and-so-manieth subscription, from 0. */
  stream(index: number): Promise<PlayedStream> {
    return eventually(() => this.streams[index], { what: `subscription ${index}` });
  }

  async stop(): Promise<void> {
    const closed = once(this.server, 'close');
    this.server.close();
    for (const socket of this.sockets) socket.destroy();
    await closed;
  }

  private async take(incoming: IncomingMessage, response: ServerResponse): Promise<void> {
    const path = incoming.url!;
    const name = findRoute(path);
    const body = await bodyOf(incoming);
    const { method, headers } = incoming as { method: string; headers: IncomingMessage['headers'] };
    const message = name && routes[name].request ? decode(routes[name].request as MessageType<object>, body) : {};
    const request = { method, path, headers, body, message };
    this.requests.push(request);
    const rawAnswer = this.rawAnswers[path];
    if (rawAnswer) rawAnswer(request, response);
    else this.answer(name, request, response);
  }

  private answer(name: RouteName | undefined, request: PlayedRequest, response: ServerResponse): void {
    const route = name && routes[name];
    if (route?.kind === 'stream' && request.method === route.method) {
      this.streams.push(new PlayedStream(request, response));
      return;
    }
    const answer = this.answers[name as CallName] as ((asked: object) => object) | undefined;
    if (!answer || request.method !== route?.method) {
      response.writeHead(404, { 'Content-Type': 'text/plain; charset=utf-8' }).end('404 page not found\n');
      return;
    }
    const { response: type } = route as unknown as CallRoute<object, object>;
    const bytes = encode(type, type.create(answer(request.message)));
    response.writeHead(200, { 'Content-Type': 'application/x-protobuf', 'Content-Length': bytes.length }).end(bytes);
  }
}

/** The bytes of an event as Go's BBS sends it: one chunk. */
export function eventChunk(event: BbsEvent, id = 0): Buffer {
  return chunk(eventText(event, id));
}

/** The text of an event. */
export function eventText(event: BbsEvent, id = 0): string {
  return `id: ${id}\nevent: ${event.name}\ndata: ${encodeEvent(event).toString('base64')}\n\n`;
}

/** @param extension @default an empty one, as Go's BBS sends it */
export function chunk(text: string, extension = ';'): Buffer {
  return Buffer.from(`${Buffer.byteLength(text).toString(16)}${extension}\r\n${text}\r\n`);
}

/** What Go's BBS sends before the first event. */
export const streamHead = [
  'HTTP/1.1 200 OK',
  'Cache-Control: no-cache, no-store, must-revalidate',
  'Connection: keep-alive',
  'Content-Type: text/event-stream; charset=utf-8',
  'Date: Sun, 29 Nov 2026 14:00:00 GMT',
  'Transfer-Encoding: chunked',
  '\r\n',
].join('\r\n');

/** The other end of a subscription, byte for byte. */
export class PlayedStream {
  readonly socket: Socket;
  private id = 0;

  constructor(
    readonly request: PlayedRequest,
    response: ServerResponse,
  ) {
    this.socket = response.socket!;
    this.socket.on('error', () => {});
    this.raw(streamHead);
  }

  send(event: BbsEvent): void {
    this.raw(eventChunk(event, this.id));
    this.id += 1;
  }

  /** @returns whether the client reads as fast */
  raw(bytes: string | Buffer): boolean {
    return this.socket.write(bytes);
  }

  /** As a BBS that stops. */
  end(): void {
    this.socket.end('0\r\n\r\n');
  }

  /** As a BBS that is killed. */
  cut(): void {
    this.socket.destroy();
  }
}
