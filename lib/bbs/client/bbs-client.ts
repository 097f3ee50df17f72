import { setMaxListeners } from 'node:events';
import type { BbsError } from '../errors.js';
import { decode, encode } from '../messages/codec.js';
import type { MessageType } from '../messages/message-type.js';
import { EventsByCellId } from '../messages/models.js';
import {
  type CallName,
  type CallRoute,
  type RequestOf,
  type ResponseOf,
  type RouteName,
  routes,
  type StreamRoute,
} from '../routes.js';
import { withAttempts } from './attempts.js';
import { ApplicationError, EndpointNotFound, InvalidResponse, refusalOf, UndecodableResponse } from './errors.js';
import { fallbackOf } from './fallbacks.js';
import { type HttpAnswer, HttpExchange } from './http-exchange.js';
import { type HttpPeer, type PeerTls, parsePeer } from './http-peer.js';
import { joinSignals } from './joined-signal.js';
import { EventSubscription, type SubscriptionOptions } from './streams/event-subscription.js';

export interface BbsClientOptions {
  /** `https://host:port`; `http` for tests. */
  url: string;
  /** What a BBS asks of its clients. @default none: HTTP, or a server that asks for none */
  tls?: PeerTls;
  /** Of each call; failures that may pass are tried again. @default 3 */
  attempts?: number;
  /** Between two attempts. Milliseconds. @default 500 */
  attemptPauseMs?: number;
  /** Of each attempt, to its last byte; 0: none. Not of event streams. Milliseconds. @default 0 */
  timeoutMs?: number;
  /** Also of event streams. Milliseconds. @default 5000 */
  connectTimeoutMs?: number;
  /** Of an answer. @default 1 GiB */
  maximumResponseBytes?: number;
  /** Before a broken event stream is subscribed to again. Milliseconds. @default 1000 */
  streamRetryIntervalMs?: number;
  /** How often a subscription is tried again while there is no connection. @default the number of attempts */
  streamRetries?: number;
  /** Of an event in its base64. @default 64 MiB */
  maximumEventBytes?: number;
}

export interface CallOptions {
  /** Goes along as `X-Vcap-Request-Id`, into logs and events. @default '' */
  requestId?: string;
  /** Gives up; the call throws the signal's reason. */
  signal?: AbortSignal;
}

/** Names of routes that are subscribed to. */
export type StreamName = Exclude<RouteName, CallName>;

const contentType = 'application/x-protobuf';
const mebibyte = 1024 * 1024;

/** Calls of a Bulletin Board System and subscriptions to its events (docs/protocol/bbs.md §1, §11). */
export class BbsClient {
  readonly #peer: HttpPeer;
  readonly #exchange: HttpExchange;
  readonly #rules;
  readonly #stopping = new AbortController();

  private constructor(options: BbsClientOptions) {
    const { attempts = 3, connectTimeoutMs = 5000 } = options;
    this.#peer = parsePeer(options.url, options.tls);
    this.#exchange = new HttpExchange(this.#peer, {
      connectTimeoutMs,
      timeoutMs: options.timeoutMs ?? 0,
      maximumBodyBytes: options.maximumResponseBytes ?? 1024 * mebibyte,
    });
    this.#rules = {
      call: { attempts, pauseMs: options.attemptPauseMs ?? 500 },
      stream: {
        connectTimeoutMs,
        retryIntervalMs: options.streamRetryIntervalMs ?? 1000,
        retries: options.streamRetries ?? attempts,
        maximumEventBytes: options.maximumEventBytes ?? 64 * mebibyte,
      },
    };
    // One for each call and subscription that is under way.
    setMaxListeners(0, this.#stopping.signal);
  }

  /** Connects to nothing yet. @throws for a URL, a certificate or a key that is none */
  static create(options: BbsClientOptions): BbsClient {
    return new BbsClient(options);
  }

  /**
   * Asks one thing. Of a BBS that is too old for the route the older one is asked, where there is one.
   *
   * @param request the fields that are not empty
   * @throws ApplicationError when the BBS refuses; another CallError, or PeerUnreachable, when there is no usable
   * answer after all attempts; the signal's reason
   */
  async call<Name extends CallName>(
    name: Name,
    request: Partial<RequestOf<Name>> = {},
    options: CallOptions = {},
  ): Promise<ResponseOf<Name>> {
    const giving = joinSignals(options.signal, this.#stopping.signal);
    try {
      return (await this.#callOrFallBack(name, request, { ...options, signal: giving.signal })) as ResponseOf<Name>;
    } finally {
      giving.release();
    }
  }

  /**
   * Subscribes to events; resolves when the stream has begun, so that nothing is missed by who then asks for the whole
   * state. Stop the subscription, or read it to its end.
   *
   * @throws CallError when the answer is no stream; PeerUnreachable after all attempts; the signal's reason
   */
  async subscribe(name: StreamName, options: SubscriptionOptions = {}): Promise<EventSubscription> {
    const { method, path, request }: StreamRoute = routes[name];
    const body = request ? encode(EventsByCellId, { cellId: options.cellId ?? '' }) : Buffer.alloc(0);
    const question = { method, path, headers: { Accept: 'text/event-stream' }, body };
    const rules = this.#rules.stream;
    return EventSubscription.open({ peer: this.#peer, question, rules, stopping: this.#stopping.signal }, options);
  }

  /** Breaks off all calls and subscriptions. Idempotent. */
  stop(): void {
    this.#stopping.abort(new Error(`the client of ${this.#peer.url} is stopped`));
    this.#exchange.stop();
  }

  async #callOrFallBack(name: CallName, request: object, options: CallOptions): Promise<object> {
    try {
      return await this.#call(name, request, options);
    } catch (error) {
      const fallback = error instanceof EndpointNotFound ? fallbackOf(name, request) : undefined;
      if (!fallback) throw error;
      return this.#call(fallback.name, fallback.request, options);
    }
  }

  #call(name: CallName, fields: object, { requestId = '', signal }: CallOptions): Promise<object> {
    const { method, path, request, response } = routes[name] as unknown as CallRoute<object, object>;
    const body = request ? encode(request, request.create(fields)) : Buffer.alloc(0);
    const headers = { 'Content-Type': contentType, 'X-Vcap-Request-Id': requestId };
    return withAttempts(this.#rules.call, signal, async () =>
      readAnswer(response, await this.#exchange.ask({ method, path, headers, body, signal })),
    );
  }
}

/** Also a status of failure may come with a message. A message of no bytes is a success without data. */
function readAnswer(type: MessageType<object>, { status, headers, body }: HttpAnswer): object {
  const routerError = headers['x-cf-routererror'];
  if (routerError !== undefined) throw refusalOf(status, String(routerError));
  if (!isProtobuf(headers['content-type'])) {
    // Upstream takes any answer of success for an empty message: a proxy's page would say that nothing runs.
    if (status <= 299) throw new InvalidResponse(status, `Invalid Response without the content type ${contentType}`);
    throw refusalOf(status, undefined);
  }
  const response = decodeAnswer(type, body);
  const { error } = response as { error?: BbsError };
  if (error) throw new ApplicationError(error.type, error.message, response);
  return response;
}

function isProtobuf(value: string | undefined): boolean {
  const [type] = (value ?? '').split(';');
  return type?.trim().toLowerCase() === contentType;
}

function decodeAnswer(type: MessageType<object>, body: Buffer): object {
  try {
    return decode(type, body, { invalidText: 'replaced', maximumFields: Number.POSITIVE_INFINITY });
  } catch (cause) {
    throw new UndecodableResponse((cause as Error).message, { cause });
  }
}
