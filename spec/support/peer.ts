import { EventEmitter } from 'node:events';
import { connect, JSONCodec, type NatsConnection, type Subscription } from 'nats';
import { eventually } from './eventually.js';

/** A message of a protocol under check: every field is looked at, and none is taken for granted. */
// biome-ignore lint/suspicious/noExplicitAny: specs compare fields of any depth with what the protocol demands
export type Message = Record<string, any>;

export interface Received {
  subject: string;
  data: Message;
  at: number;
}

/**
 * Any peer of the cell on the bus: records every message, plays the Cloud Controller, router and health manager. Made
 * on the NATS library alone, so that it shares no code with what it checks.
 */
export class Peer {
  readonly received: Received[] = [];
  private readonly arrivals = new EventEmitter().setMaxListeners(0);
  private readonly codec = JSONCodec<Message>();

  private constructor(readonly connection: NatsConnection) {}

  /** `reconnects`: comes back, as soon and as often as the bus does. */
  static async connect(url: string, { reconnects = false }: { reconnects?: boolean } = {}): Promise<Peer> {
    const lasting = { maxReconnectAttempts: -1, reconnectTimeWait: 200 };
    const peer = new Peer(await connect({ servers: url, ...(reconnects && lasting) }));
    await peer.record(peer.connection.subscribe('>'));
    return peer;
  }

  private async record(subscription: Subscription): Promise<void> {
    void (async () => {
      for await (const message of subscription) {
        if (message.subject.startsWith('_INBOX')) continue;
        let data: Message;
        try {
          data = this.codec.decode(message.data);
        } catch {
          continue;
        }
        const received = { subject: message.subject, data, at: Date.now() };
        this.received.push(received);
        this.arrivals.emit('message', received);
      }
    })();
    await this.connection.flush();
  }

  publish(subject: string, data: Message): void {
    this.connection.publish(subject, this.codec.encode(data));
  }

  publishRaw(subject: string, text: string): void {
    this.connection.publish(subject, new TextEncoder().encode(text));
  }

  /** Messages on a subject, oldest first, that fit the given fields. */
  all(subject: string, fields: Record<string, unknown> = {}): Received[] {
    return this.received.filter(
      (message) =>
        message.subject === subject && Object.entries(fields).every(([key, value]) => message.data[key] === value),
    );
  }

  /** Waits for a message on a subject, after `since` (index into `received`), that `accept` takes. */
  next(
    subject: string,
    accept: (data: Message) => boolean = () => true,
    options: { since?: number; timeoutMs?: number } = {},
  ): Promise<Message> {
    const { since = 0, timeoutMs = 10_000 } = options;
    const fits = (message: Received) => message.subject === subject && accept(message.data);
    const past = this.received.slice(since).find(fits);
    if (past) return Promise.resolve(past.data);
    return new Promise((resolve, reject) => {
      const look = (message: Received) => {
        if (!fits(message)) return;
        finish();
        resolve(message.data);
      };
      const timer = setTimeout(() => {
        finish();
        reject(new Error(`no message on ${subject} within ${timeoutMs} ms`));
      }, timeoutMs);
      const finish = () => {
        clearTimeout(timer);
        this.arrivals.off('message', look);
      };
      this.arrivals.on('message', look);
    });
  }

  /** Position in the record, for `next({ since })`. */
  get mark(): number {
    return this.received.length;
  }

  /** Publishes with an inbox and collects the replies that come until there are `count` or the time is up. */
  async request(subject: string, data: Message, options: { count?: number; timeoutMs?: number } = {}) {
    const replies = this.requestReplies(subject, data);
    await eventually(() => (replies.length >= (options.count ?? 1) ? true : undefined), {
      timeoutMs: options.timeoutMs ?? 1000,
    }).catch(() => {});
    return replies;
  }

  /** Publishes with an inbox; the array that comes back grows with each reply. */
  requestReplies(subject: string, data: Message): Message[] {
    const inbox = `_INBOX.${Math.random().toString(36).slice(2)}`;
    const replies: Message[] = [];
    this.connection.subscribe(inbox, {
      callback: (_error, message) => {
        replies.push(this.codec.decode(message.data));
      },
    });
    this.connection.publish(subject, this.codec.encode(data), { reply: inbox });
    return replies;
  }

  /** Id of the one cell on the bus, from its advertisement. */
  async cellId(): Promise<string> {
    return (await this.next('dea.advertise')).id;
  }

  async close(): Promise<void> {
    await this.connection.close();
  }
}
