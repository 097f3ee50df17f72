/** A message from the bus; its payload is one JSON value, null for an empty payload. */
export interface BusMessage {
  readonly subject: string;
  readonly data: unknown;
  readonly hasReply: boolean;
  /** Answers on the message's reply subject; without one nothing happens. */
  reply(data: unknown): void;
}

export interface Subscription {
  /** Idempotent. */
  unsubscribe(): void;
}

export interface RequestOptions {
  /** Gives up after so long without the next reply. */
  timeoutMs: number;
  signal?: AbortSignal;
}

/**
 * The message bus that legacy components share (docs/protocol/dea.md §3). Works before the connection is up and while
 * it is away: subscriptions are made and restored, publishes wait.
 */
export interface Bus {
  readonly isConnected: boolean;
  /** Returns at once; connects in the background and tries without end. */
  start(): Promise<void>;
  /** Sends what waits, for at most 5 s, and closes. Idempotent. */
  stop(): Promise<void>;
  /**
   * Sends, or keeps until the bus is there: the last 10,000 messages (32 MiB), in order. Never throws: what the bus
   * cannot carry is logged and dropped.
   */
  publish(subject: string, data?: unknown): void;
  /**
   * A handler's error is logged, and the subscription lives on. A message that is no JSON is logged and dropped.
   */
  subscribe(
    subject: string,
    handler: (message: BusMessage) => void | Promise<void>,
    options?: { queue?: string },
  ): Subscription;
  /**
   * Gives payloads as they come, unread and unlogged: for subjects with so much traffic that the reader wants to look
   * before it unpacks. A handler's error is logged.
   */
  subscribeBytes(subject: string, handler: (payload: Uint8Array) => void): Subscription;
  /** Collects replies until there are `maxReplies` or the time is up; never rejects for want of replies. */
  request(subject: string, data: unknown, options: RequestOptions & { maxReplies?: number }): Promise<unknown[]>;
  /** Replies one by one; ends when the next one does not come in time. */
  requestStream(subject: string, data: unknown, options: RequestOptions): AsyncIterable<unknown>;
  /** Calls back after each connection and reconnection, until the returned function is called. */
  onConnect(listener: () => void): () => void;
}
