import type { Socket } from 'node:net';
import { errorData, type Logger } from '../../../logging/logger.js';
import { decodeEnvelope, type Envelope, encodeResponse } from '../protocol/codec.js';
import { encodeFrame, FrameParser } from '../protocol/framing.js';
import type { RequestName, ResponseFields, TypeName } from '../protocol/messages.js';
import type { RequestPeer } from './requests.js';

export interface ConnectionOptions {
  socket: Socket;
  /** Longest request that is accepted. */
  maximumRequestBytes: number;
  /** Answers one request; resolves with the encoded last response. Never rejects while the client is there. */
  answer(request: Envelope, connection: Connection): Promise<Buffer>;
  logger: Logger;
}

/** The client has gone, or must go. */
class ConnectionClosedError extends Error {}

/** Requests that only wait: they are given up when the client goes or the server drains. */
const waitingRequests = new Set<TypeName>(['Link', 'Run', 'Stream']);
/** How long a client that must go may take to read what was written. */
const flushPatienceMs = 5_000;
/** What a queued request costs, however short it is. */
const frameOverheadBytes = 64;
/** From so many bytes of queued requests on, no more are read. */
const longestQueueBytes = 256 * 1024;

/**
 * One client's connection: requests are answered strictly one after the other, in order
 * (docs/protocol/containers.md §1.1).
 *
 *     open -- end of input, garbage --> finishing: answers what it has, gives up waiting --> closed
 *       +---- drain --> finishing the request at hand --> closed
 */
export class Connection implements RequestPeer {
  /** Resolves when the socket is closed and nothing is being answered any more. */
  readonly closed: Promise<void>;
  readonly #options: ConnectionOptions;
  readonly #socket: Socket;
  readonly #parser: FrameParser;
  readonly #abort = new AbortController();
  readonly #queue: Buffer[] = [];
  #queuedBytes = 0;
  #current: TypeName | undefined;
  #answering: Promise<void> | undefined;
  #isReading = true;

  constructor(options: ConnectionOptions) {
    this.#options = options;
    this.#socket = options.socket;
    this.#parser = new FrameParser(options.maximumRequestBytes);
    const socket = this.#socket;
    socket.on('data', (piece: Buffer) => this.#receive(piece));
    socket.on('end', () => this.#finish());
    // What it means for the client's requests is told by the closing.
    socket.on('error', (error) => options.logger.debug('containers.warden.socket-error', errorData(error)));
    this.closed = new Promise((resolve) => {
      socket.on('close', () => {
        this.#giveUp();
        void Promise.resolve(this.#answering).then(() => resolve());
      });
    });
  }

  get signal(): AbortSignal {
    return this.#abort.signal;
  }

  async send<Name extends RequestName>(type: Name, fields: ResponseFields<Name>): Promise<void> {
    await this.#write(encodeResponse(type, fields));
  }

  /** Closes at once, or after the request at hand if that is one that does something. */
  drain(): void {
    this.#queue.length = 0;
    if (this.#current === undefined || waitingRequests.has(this.#current)) this.destroy();
    else this.#finish();
  }

  /** Closes at once; what was written already is still sent. */
  destroy(): void {
    this.#giveUp();
    if (this.#socket.writableLength === 0) {
      this.#socket.destroy();
      return;
    }
    this.#socket.destroySoon();
    const timer = setTimeout(() => this.#socket.destroy(), flushPatienceMs);
    this.#socket.on('close', () => clearTimeout(timer));
  }

  /** Cuts it, whatever waits to be sent. */
  cut(): void {
    this.#giveUp();
    this.#socket.destroy();
  }

  #receive(piece: Buffer): void {
    if (!this.#isReading) return;
    try {
      for (const payload of this.#parser.push(piece)) {
        this.#queue.push(payload);
        this.#queuedBytes += payload.length + frameOverheadBytes;
      }
    } catch (error) {
      this.#refuse(error);
      return;
    }
    if (this.#queuedBytes > longestQueueBytes) this.#socket.pause();
    this.#answerQueue();
  }

  #answerQueue(): void {
    this.#answering ??= this.#answerAll().finally(() => {
      this.#answering = undefined;
    });
  }

  async #answerAll(): Promise<void> {
    try {
      for (let payload = this.#queue.shift(); payload; payload = this.#queue.shift()) {
        this.#queuedBytes -= payload.length + frameOverheadBytes;
        if (this.#queuedBytes <= longestQueueBytes) this.#socket.resume();
        await this.#answer(payload);
      }
    } catch (error) {
      this.#queue.length = 0;
      if (error instanceof ConnectionClosedError || this.signal.aborted) this.#giveUp();
      else this.#refuse(error);
    }
    if (!this.#isReading) this.destroy();
  }

  async #answer(payload: Buffer): Promise<void> {
    const request = decodeEnvelope(payload);
    this.#current = request.type;
    try {
      if (!this.#isReading && waitingRequests.has(request.type)) throw new ConnectionClosedError('the client has gone');
      await this.#write(await this.#options.answer(request, this));
    } finally {
      this.#current = undefined;
    }
  }

  /** What was sent makes no sense: nothing more is read. */
  #refuse(error: unknown): void {
    this.#options.logger.warn('containers.warden.connection-refused', errorData(error));
    this.#finish();
  }

  /** Takes no more requests; closes when those that are there are answered. */
  #finish(): void {
    this.#isReading = false;
    if (this.#current !== undefined && waitingRequests.has(this.#current)) this.#giveUp();
    this.#answerQueue();
    // Reads and drops, so that the other side's end is seen.
    this.#socket.resume();
  }

  #giveUp(): void {
    this.#isReading = false;
    if (!this.signal.aborted) this.#abort.abort(new ConnectionClosedError('the connection is closed'));
  }

  async #write(payload: Buffer): Promise<void> {
    if (this.#socket.destroyed || !this.#socket.writable) throw new ConnectionClosedError('the connection is closed');
    if (this.#socket.write(encodeFrame(payload))) return;
    await new Promise<void>((resolve) => {
      const settle = () => {
        this.#socket.off('drain', settle).off('close', settle);
        this.signal.removeEventListener('abort', settle);
        resolve();
      };
      this.#socket.on('drain', settle).on('close', settle);
      this.signal.addEventListener('abort', settle);
    });
  }
}
