import type { BbsEvent } from '../../decisions/events/event.js';
import { pause } from '../attempts.js';
import { BrokenStream, PeerTimeout, PeerUnreachable, refusalOf, UnrecognizedEvent } from '../errors.js';
import type { HttpPeer } from '../http-peer.js';
import { joinSignals } from '../joined-signal.js';
import { decodeEvent } from './event-decoding.js';
import { MalformedResponse } from './malformed-response.js';
import { type ServerSentEvent, ServerSentEventParser } from './server-sent-events.js';
import { StreamConnection, type StreamQuestion } from './stream-connection.js';

/** What a subscriber may want to say. */
export interface SubscriptionOptions {
  /** Only events that concern this cell; `''`: all. @default '' */
  cellId?: string;
  /** Ends the subscription: whoever waits for an event gets the signal's reason. */
  signal?: AbortSignal;
  /**
   * The stream broke off and is subscribed to again: events may be missing. Upstream's clients are not told.
   * @default nothing
   */
  onBroken?(error: BrokenStream): void;
  /**
   * An event came that has a name of no stream, and is passed over.
   * @default the subscription fails with it
   */
  onUnrecognizedEvent?(error: UnrecognizedEvent): void;
}

/** How streams are kept up, whoever reads them. */
export interface StreamRules {
  connectTimeoutMs: number;
  /** Before it is tried again, unless the stream says another. Milliseconds. */
  retryIntervalMs: number;
  /** How often again, when there is no connection. */
  retries: number;
  maximumEventBytes: number;
}

export interface SubscriptionSetting {
  peer: HttpPeer;
  question: StreamQuestion;
  rules: StreamRules;
  /** The client stops. */
  stopping: AbortSignal;
}

/** The server is not ready yet, or a proxy in front of it knows none. */
const passingStatuses = new Set([500, 502, 503, 504]);

/**
 * Events of one stream, from the moment of `open` on, as fast as they are read (docs/protocol/bbs.md §11.1):
 *
 * ```
 * open -> events -> the stream's proper end: the iteration is over; subscribe again and look at everything anew
 *           |  ^
 *           v  | after a second
 *         broken off
 * ```
 */
export class EventSubscription implements AsyncIterable<BbsEvent> {
  readonly #setting: SubscriptionSetting;
  readonly #options: SubscriptionOptions;
  readonly #ending;
  readonly #events = this.#read();
  readonly #stopped = new Error('the subscription is stopped');
  #connection: StreamConnection | undefined;
  #retryIntervalMs: number;

  private constructor(setting: SubscriptionSetting, options: SubscriptionOptions) {
    this.#setting = setting;
    this.#options = options;
    this.#retryIntervalMs = setting.rules.retryIntervalMs;
    this.#ending = joinSignals(options.signal, setting.stopping);
  }

  /**
   * Resolves when the stream has begun. Who does not read it to its end stops it.
   * @throws CallError for another answer than a stream; PeerUnreachable; PeerTimeout; the signal's reason
   */
  static async open(setting: SubscriptionSetting, options: SubscriptionOptions): Promise<EventSubscription> {
    const subscription = new EventSubscription(setting, options);
    try {
      subscription.#connection = await subscription.#connect();
      return subscription;
    } catch (error) {
      subscription.stop();
      throw error;
    }
  }

  /** The same iterator each time. */
  [Symbol.asyncIterator](): AsyncIterator<BbsEvent, void, undefined> {
    return this.#events;
  }

  /** Ends the iteration. Idempotent. */
  stop(): void {
    this.#ending.abort(this.#stopped);
    this.#ending.release();
    this.#connection?.close();
  }

  async *#read(): AsyncGenerator<BbsEvent, void, undefined> {
    try {
      for (;;) {
        const broken = yield* this.#untilEnd();
        if (!broken) return;
        this.#options.onBroken?.(broken);
        await pause(this.#retryIntervalMs, this.#ending.signal);
        this.#connection = await this.#connect();
      }
    } catch (error) {
      if (error !== this.#stopped) throw error;
    } finally {
      this.stop();
    }
  }

  /** @returns undefined after the proper end */
  async *#untilEnd(): AsyncGenerator<BbsEvent, BrokenStream | undefined, undefined> {
    this.#ending.signal.throwIfAborted();
    const parser = new ServerSentEventParser(this.#setting.rules.maximumEventBytes);
    try {
      for await (const bytes of this.#connection!.body()) {
        yield* this.#decodeAll(parser.push(bytes));
        this.#retryIntervalMs = parser.retryMs ?? this.#retryIntervalMs;
      }
      return undefined;
    } catch (error) {
      if (error instanceof BrokenStream) return error;
      // What is no HTTP any more cannot be read on, either.
      if (error instanceof MalformedResponse) return new BrokenStream(error.message, { cause: error });
      throw error;
    }
  }

  *#decodeAll(events: Iterable<ServerSentEvent>): Generator<BbsEvent> {
    for (const event of events) {
      const decoded = this.#decode(event);
      if (decoded) yield decoded;
    }
  }

  #decode(event: ServerSentEvent): BbsEvent | undefined {
    try {
      return decodeEvent(event);
    } catch (error) {
      if (!(error instanceof UnrecognizedEvent) || !this.#options.onUnrecognizedEvent) throw error;
      this.#options.onUnrecognizedEvent(error);
      return undefined;
    }
  }

  async #connect(): Promise<StreamConnection> {
    const { retries } = this.#setting.rules;
    for (let failures = 0; ; ) {
      const connection = await this.#tryToConnect().catch((error: unknown) => {
        failures += 1;
        if (failures > retries || !(error instanceof PeerUnreachable || error instanceof PeerTimeout)) throw error;
        return undefined;
      });
      if (connection) return connection;
      await pause(this.#retryIntervalMs, this.#ending.signal);
    }
  }

  /** @returns undefined when the server may do it later */
  async #tryToConnect(): Promise<StreamConnection | undefined> {
    const { peer, question, rules } = this.#setting;
    const { connectTimeoutMs } = rules;
    const connection = await StreamConnection.open({ peer, question, connectTimeoutMs, signal: this.#ending.signal });
    const { status, headers } = connection.head;
    if (status === 200) return connection;
    connection.close();
    if (passingStatuses.has(status)) return undefined;
    throw refusalOf(status, headers.get('x-cf-routererror'));
  }
}
