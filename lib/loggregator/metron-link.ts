import { createSocket, type Socket } from 'node:dgram';
import { lookup } from 'node:dns/promises';
import { isIP } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { errorData, type Logger } from '../logging/logger.js';
import { DatagramQueue } from './datagram-queue.js';
import type { RouterAddress } from './router-address.js';

export interface MetronLinkOptions {
  router: RouterAddress;
  logger: Logger;
  /** Milliseconds between two reports of drops, and between two looks at what the router's name means. @default 30000 */
  reportPeriodMs?: number;
  /** Milliseconds until a name that did not resolve is tried again. @default 5000 */
  retryMs?: number;
}

const limits = { count: 10_000, bytes: 16 * 1024 * 1024 };
/**
 * So many datagrams go out in one go, then the receiver gets a moment: its socket holds a few hundred, and what it has
 * no room for is lost without a word.
 */
const burst = 50;
const pauseMs = 1;
/** From so many waiting datagrams on, those who can wait should. */
const congestion = 1000;
const flushLimitMs = 1000;

/**
 * Sends datagrams to a Metron, in order, and never fails: what cannot be sent is dropped and counted, and the count is
 * logged once per period. Memory is bounded.
 *
 *   unresolved --name resolves--> connected --name means another address--> connected (new socket)
 *        ^-----retry-----'            '---- refused: tried once more, then dropped
 */
export class MetronLink {
  readonly #options: Required<MetronLinkOptions>;
  readonly #queue = new DatagramQueue(limits);
  #socket: Socket | undefined;
  #address: string | undefined;
  #isSending = false;
  #isStopped = false;
  #sentInBurst = 0;
  #dropped = 0;
  #reason: unknown;
  #waiting: (() => void)[] = [];
  #reportTimer: NodeJS.Timeout | undefined;
  #pumpTimer: NodeJS.Timeout | undefined;
  #retryTimer: NodeJS.Timeout | undefined;
  #connecting: Promise<void> | undefined;

  constructor(options: MetronLinkOptions) {
    this.#options = { reportPeriodMs: 30_000, retryMs: 5000, ...options };
  }

  /** Resolves the router's name in the background. */
  start(): void {
    this.#connect();
    this.#reportTimer = setInterval(() => {
      this.#report();
      this.#connect();
    }, this.#options.reportPeriodMs);
  }

  /** Sends what waits, for at most a second, then releases the socket. Idempotent. */
  async stop(): Promise<void> {
    if (this.#isStopped) return;
    const deadline = Date.now() + flushLimitMs;
    while (this.#canSend && (this.#queue.length > 0 || this.#isSending) && Date.now() < deadline) await delay(10);
    this.#isStopped = true;
    for (const timer of [this.#reportTimer, this.#pumpTimer, this.#retryTimer]) clearTimeout(timer);
    this.#replaceSocket(undefined);
    this.#dropped += this.#queue.length;
    this.#report();
    this.#letGoOn();
  }

  /** Queues a datagram. */
  send(datagram: Buffer): void {
    if (this.#isStopped) return;
    const dropped = this.#queue.push(datagram);
    if (dropped > 0) this.#drop(dropped, 'too many wait to be sent');
    this.#pump();
  }

  /**
   * Resolves when there is no jam. Not waiting for it costs others their place in the queue, nothing else. While the
   * router's name does not resolve there is nothing to wait for.
   */
  uncongested(): Promise<void> {
    if (this.#queue.length < congestion || !this.#canSend || this.#isStopped) return Promise.resolve();
    return new Promise((resolve) => {
      this.#waiting.push(resolve);
    });
  }

  /** Now, or in a moment. */
  get #canSend(): boolean {
    return this.#socket !== undefined || this.#connecting !== undefined;
  }

  #pump(): void {
    if (this.#isSending || this.#pumpTimer || !this.#socket) return;
    if (this.#sentInBurst >= burst) {
      this.#sentInBurst = 0;
      this.#pumpTimer = setTimeout(() => {
        this.#pumpTimer = undefined;
        this.#pump();
      }, pauseMs);
      return;
    }
    const datagram = this.#queue.shift();
    if (this.#queue.length < congestion / 2) this.#letGoOn();
    if (datagram === undefined) {
      this.#sentInBurst = 0;
      return;
    }
    this.#isSending = true;
    this.#sendNow(this.#socket, datagram, true);
  }

  /** A refusal tells of an earlier datagram, and this one was not sent: it is tried once more. */
  #sendNow(socket: Socket, datagram: Buffer, mayRetry: boolean): void {
    const settle = (error: Error | null) => {
      if (mayRetry && isRefusal(error) && socket === this.#socket) {
        this.#sendNow(socket, datagram, false);
        return;
      }
      if (error) this.#drop(1, error);
      this.#isSending = false;
      this.#sentInBurst += 1;
      this.#pump();
    };
    try {
      socket.send(datagram, settle);
    } catch (error) {
      settle(error as Error);
    }
  }

  #connect(): void {
    this.#connecting ??= this.#connectNow()
      .catch((error: unknown) => {
        this.#reason = error;
        if (this.#socket || this.#isStopped) return;
        clearTimeout(this.#retryTimer);
        this.#retryTimer = setTimeout(() => this.#connect(), this.#options.retryMs);
      })
      .finally(() => {
        this.#connecting = undefined;
        if (!this.#socket) this.#letGoOn();
      });
  }

  async #connectNow(): Promise<void> {
    const { host, port } = this.#options.router;
    if (this.#socket && isIP(host)) return;
    const { address, family } = await lookup(host);
    if (this.#isStopped || (this.#socket && address === this.#address)) return;
    const socket = createSocket(family === 6 ? 'udp6' : 'udp4');
    try {
      await connected(socket, port, address);
    } catch (error) {
      socket.close();
      throw error;
    }
    // What is refused is told here, too, when no datagram is being sent.
    socket.on('error', (error) => this.#drop(1, error));
    if (this.#isStopped) {
      socket.close();
      return;
    }
    this.#address = address;
    this.#replaceSocket(socket);
    this.#pump();
  }

  #replaceSocket(socket: Socket | undefined): void {
    this.#socket?.close();
    this.#socket = socket;
  }

  #drop(count: number, reason: unknown): void {
    this.#dropped += count;
    this.#reason = reason;
  }

  #report(): void {
    if (this.#dropped === 0) return;
    const { router, logger } = this.#options;
    logger.warn('loggregator.messages.dropped', {
      count: this.#dropped,
      router: `${router.host}:${router.port}`,
      ...(this.#reason !== undefined && { error: errorData(this.#reason).error }),
    });
    this.#dropped = 0;
    this.#reason = undefined;
  }

  #letGoOn(): void {
    for (const resolve of this.#waiting.splice(0)) resolve();
  }
}

function isRefusal(error: Error | null): boolean {
  return (error as NodeJS.ErrnoException | null)?.code === 'ECONNREFUSED';
}

function connected(socket: Socket, port: number, address: string): Promise<void> {
  return new Promise((resolve, reject) => {
    socket.once('error', reject);
    socket.connect(port, address, () => {
      socket.off('error', reject);
      resolve();
    });
  });
}
