import { setTimeout as delay } from 'node:timers/promises';
import { connect, createInbox, type Msg, type NatsConnection, type Subscription as NatsSubscription } from 'nats';
import { errorData, type Logger } from '../logging/logger.js';
import { redact } from '../logging/redaction.js';
import type { Bus, BusMessage, RequestOptions, Subscription } from './bus.js';
import { describeServer, parseServerAddress, type ServerAddress } from './server-address.js';

export interface NatsBusOptions {
  /** `nats://user:password@host:port`, tried in random order. */
  servers: string[];
  logger: Logger;
  /** Name of the connection, for the server's monitoring. */
  name?: string;
}

const retryPauseMs = 2000;
const connectTimeoutMs = 5000;
const flushLimitMs = 5000;
/** Publishes that wait for a connection; beyond that the oldest go: they are the most outdated. */
const waitingLimit = 10_000;
const waitingBytesLimit = 32 * 1024 * 1024;

interface Waiting {
  subject: string;
  payload: Uint8Array;
  reply?: string;
}

interface Registration {
  subject: string;
  queue: string | undefined;
  deliver(message: Msg): void;
  subscription: NatsSubscription | undefined;
}

/**
 * A bus over NATS. Each connection is used until it breaks; what is published meanwhile waits for the next one, in
 * order. NATS confirms nothing: what was handed to a connection in the instant it broke may be lost.
 */
export class NatsBus implements Bus {
  private connection: NatsConnection | undefined;
  private connecting: Promise<void> | undefined;
  private readonly stopped = new AbortController();
  private readonly registrations = new Set<Registration>();
  private readonly listeners = new Set<() => void>();
  private readonly waiting: Waiting[] = [];
  private waitingBytes = 0;
  /** The servers still to be tried in this round. */
  private round: string[] = [];
  private isUp = false;

  constructor(private readonly options: NatsBusOptions) {}

  get isConnected(): boolean {
    return this.isUp;
  }

  async start(): Promise<void> {
    this.connecting ??= this.keepConnected();
  }

  async stop(): Promise<void> {
    if (this.stopped.signal.aborted) return;
    if (this.connection && this.isUp) {
      const limit = delay(flushLimitMs, undefined, { ref: false });
      await Promise.race([this.connection.flush().catch(() => {}), limit]);
    }
    this.stopped.abort();
    await this.connection?.close().catch(() => {});
    await this.connecting;
    this.isUp = false;
  }

  publish(subject: string, data: unknown = null): void {
    this.send({ subject, payload: encode(data) });
  }

  subscribe(
    subject: string,
    handler: (message: BusMessage) => void | Promise<void>,
    options: { queue?: string } = {},
  ): Subscription {
    return this.register(subject, options.queue, (message) => void this.deliver(message, handler));
  }

  subscribeBytes(subject: string, handler: (payload: Uint8Array) => void): Subscription {
    return this.register(subject, undefined, ({ data, headers }) => {
      if (headers?.code) return;
      try {
        handler(data);
      } catch (error) {
        this.options.logger.error('nats.subscription.error', { subject, ...errorData(error) });
      }
    });
  }

  private register(subject: string, queue: string | undefined, deliver: (message: Msg) => void): Subscription {
    const registration: Registration = { subject, queue, deliver, subscription: undefined };
    this.registrations.add(registration);
    this.attach(registration);
    return {
      unsubscribe: () => {
        if (!this.registrations.delete(registration)) return;
        registration.subscription?.unsubscribe();
      },
    };
  }

  async request(subject: string, data: unknown, options: RequestOptions & { maxReplies?: number }): Promise<unknown[]> {
    const { maxReplies = 1, timeoutMs, signal } = options;
    const replies: unknown[] = [];
    if (maxReplies <= 0) return replies;
    const deadline = performance.now() + timeoutMs;
    const inbox = this.openInbox(subject, data);
    try {
      while (replies.length < maxReplies) {
        const reply = await inbox.next(deadline - performance.now(), signal);
        if (!reply) break;
        replies.push(reply.data);
      }
      return replies;
    } finally {
      inbox.close();
    }
  }

  async *requestStream(subject: string, data: unknown, options: RequestOptions): AsyncIterable<unknown> {
    const inbox = this.openInbox(subject, data);
    try {
      for (;;) {
        const reply = await inbox.next(options.timeoutMs, options.signal);
        if (!reply) return;
        yield reply.data;
      }
    } finally {
      inbox.close();
    }
  }

  onConnect(listener: () => void): () => void {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }

  private openInbox(subject: string, data: unknown) {
    const reply = createInbox();
    const arrived: BusMessage[] = [];
    let wake = () => {};
    const subscription = this.subscribe(reply, (message) => {
      arrived.push(message);
      wake();
    });
    this.send({ subject, payload: encode(data), reply });
    return {
      close: () => subscription.unsubscribe(),
      next: async (timeoutMs: number, signal?: AbortSignal): Promise<BusMessage | undefined> => {
        if (arrived.length === 0 && timeoutMs > 0 && !signal?.aborted) {
          const { promise, cancel } = wakeable(timeoutMs, signal);
          wake = cancel;
          await promise;
        }
        return arrived.shift();
      },
    };
  }

  private send(message: Waiting): void {
    const { subject, payload, reply } = message;
    if (!isSubject(subject) || (reply !== undefined && !isSubject(reply))) {
      this.options.logger.error('nats.publish.error', { subject, error: 'not a subject to publish on' });
      return;
    }
    if (!this.connection || this.connection.isClosed()) {
      this.keepForLater(message);
      return;
    }
    try {
      this.connection.publish(subject, payload, reply ? { reply } : {});
    } catch (error) {
      // Too large for the server. Whoever publishes, a timer for example, could do nothing about it.
      this.options.logger.error('nats.publish.error', { subject, bytes: payload.length, ...errorData(error) });
    }
  }

  private keepForLater(message: Waiting): void {
    if (this.stopped.signal.aborted) return;
    this.waiting.push(message);
    this.waitingBytes += message.payload.length;
    while (this.waiting.length > waitingLimit || this.waitingBytes > waitingBytesLimit) {
      this.waitingBytes -= this.waiting.shift()!.payload.length;
    }
  }

  private sendWhatWaited(): void {
    this.waitingBytes = 0;
    for (const message of this.waiting.splice(0)) this.send(message);
  }

  private attach(registration: Registration): void {
    if (!this.connection || this.connection.isClosed()) return;
    registration.subscription = this.connection.subscribe(registration.subject, {
      ...(registration.queue !== undefined && { queue: registration.queue }),
      callback: (error, message) => {
        if (error) this.options.logger.error('nats.subscription.error', errorData(error));
        else registration.deliver(message);
      },
    });
  }

  private async deliver(message: Msg, handler: (message: BusMessage) => void | Promise<void>): Promise<void> {
    const { logger } = this.options;
    const { subject, reply: respondTo } = message;
    // The server's own word, such as "nobody listens to your request", is no message.
    if (message.headers?.code) return;
    let data: unknown;
    try {
      data = message.data.length === 0 ? null : JSON.parse(new TextDecoder().decode(message.data));
    } catch {
      // The parser's words quote the payload, which may hold secrets.
      logger.error('nats.subscription.json_error', { subject, bytes: message.data.length });
      return;
    }
    logger.debug('nats.message.received', { subject, data: redact(data) });
    const reply = (answer: unknown) => {
      if (respondTo) this.publish(respondTo, answer);
    };
    try {
      await handler({ subject, data, hasReply: Boolean(respondTo), reply });
    } catch (error) {
      logger.error('nats.subscription.error', {
        subject,
        data: redact(data),
        respond_to: respondTo ?? null,
        ...errorData(error),
      });
    }
  }

  private async keepConnected(): Promise<void> {
    const { logger, servers, name } = this.options;
    while (!this.stopped.signal.aborted) {
      logger.info('nats.connecting', { servers: servers.map(describeServer) });
      try {
        await this.connectOnce(name);
      } catch (error) {
        logger.warn('nats.connection.failed', errorData(error));
      }
      // A server that is away must not cost a pause while others were not tried.
      if (this.round.length > 0) continue;
      await delay(retryPauseMs * (0.75 + Math.random() / 2), undefined, { signal: this.stopped.signal }).catch(
        () => {},
      );
    }
  }

  /** Connects, and resolves when that connection is closed for good. */
  private async connectOnce(name: string | undefined): Promise<void> {
    // The library takes credentials once for all servers, so each server is a connection attempt of its own.
    const server = this.nextServer();
    const connection = await connect({
      servers: server.address,
      ...(server.user !== undefined && { user: server.user, pass: server.password ?? '' }),
      ...(name !== undefined && { name }),
      timeout: connectTimeoutMs,
      // The library loses what is published while it reconnects; this class does not.
      reconnect: false,
      pingInterval: 30_000,
      maxPingOut: 2,
    });
    if (this.stopped.signal.aborted) {
      await connection.close();
      return;
    }
    this.connection = connection;
    this.handleConnect(connection);
    const error = await connection.closed();
    this.isUp = false;
    this.connection = undefined;
    this.round = [];
    this.options.logger.warn('nats.disconnected', error ? errorData(error) : {});
  }

  private handleConnect(connection: NatsConnection): void {
    this.isUp = true;
    this.options.logger.info('nats.connected', { server: connection.getServer() });
    for (const registration of this.registrations) this.attach(registration);
    this.sendWhatWaited();
    for (const listener of this.listeners) {
      try {
        listener();
      } catch (error) {
        this.options.logger.error('nats.listener.error', errorData(error));
      }
    }
  }

  /** Each server once, in random order, before any is tried again. */
  private nextServer(): ServerAddress {
    if (this.round.length === 0) this.round = shuffled(this.options.servers);
    return parseServerAddress(this.round.pop()!);
  }
}

/** A bus over the given NATS servers; `start()` connects it. */
export function createNatsBus(options: NatsBusOptions): Bus {
  return new NatsBus(options);
}

/** Subjects are made of ids from other machines: a space or a line break in one would change the protocol's meaning. */
function isSubject(text: string): boolean {
  return /^[^\s*>]+$/.test(text);
}

function shuffled<Item>(items: Item[]): Item[] {
  return items
    .map((item) => ({ item, rank: Math.random() }))
    .sort((a, b) => a.rank - b.rank)
    .map(({ item }) => item);
}

function encode(data: unknown): Uint8Array {
  return new TextEncoder().encode(JSON.stringify(data));
}

/** A pause that ends early by `cancel` or the signal. */
function wakeable(timeoutMs: number, signal: AbortSignal | undefined): { promise: Promise<void>; cancel(): void } {
  let cancel = () => {};
  const promise = new Promise<void>((resolve) => {
    const finish = () => {
      clearTimeout(timer);
      signal?.removeEventListener('abort', finish);
      resolve();
    };
    const timer = setTimeout(finish, timeoutMs);
    signal?.addEventListener('abort', finish, { once: true });
    cancel = finish;
  });
  return { promise, cancel };
}
