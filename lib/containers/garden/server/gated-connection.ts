import type { Socket } from 'node:net';
import { Duplex } from 'node:stream';
import { RequestFramer } from './request-framer.js';

/** What may wait for its turn while a request is being answered; then the sender has to wait. */
const maximumWaitingBytes = 64 * 1024;

export interface GatedConnectionOptions {
  socket: Socket;
  /** A request's head must be complete within this time. */
  headTimeoutMs?: number | undefined;
}

/** A connection that is no longer HTTP's. */
export interface TakenConnection {
  socket: Socket;
  /** What the client sent behind the request and was read already. */
  early: Buffer;
  /** Whether the client ended it behind that; then the socket does not say so again. */
  hasEnded: boolean;
}

/**
 * A connection as an HTTP server sees it: of what the client sends it gets one request, and the next one only after the
 * answer. So the connection can be taken over after a request, with every byte that came behind it. HTTP does not know
 * this, but Garden needs it: after some requests both sides go on without HTTP (docs/protocol/containers.md §2.5).
 */
export class GatedConnection extends Duplex {
  readonly #socket: Socket;
  readonly #headTimeoutMs: number | undefined;
  #framer = new RequestFramer();
  #waiting: Buffer[] = [];
  #waitingBytes = 0;
  #hasEnded = false;
  #isTaken = false;
  #headTimer: NodeJS.Timeout | undefined;

  constructor({ socket, headTimeoutMs }: GatedConnectionOptions) {
    super({ allowHalfOpen: true });
    this.#socket = socket;
    this.#headTimeoutMs = headTimeoutMs;
    socket.on('data', this.#onData);
    socket.on('end', this.#onEnd);
    socket.on('error', this.#onError);
    socket.on('close', this.#onClose);
    this.#awaitHead();
  }

  /** Whether no request is being read or answered. */
  get isIdle(): boolean {
    return !this.#framer.hasHead;
  }

  /** The answer is complete: what came meanwhile is the next request. */
  next(): void {
    if (this.#isTaken || this.destroyed) return;
    this.#framer = new RequestFramer();
    this.#awaitHead();
    const waiting = Buffer.concat(this.#waiting);
    this.#waiting = [];
    this.#waitingBytes = 0;
    this.#socket.resume();
    if (waiting.length > 0) this.#onData(waiting);
    this.#passEnd();
  }

  /** Gives the bare connection away, paused. The HTTP server sees its connection close. */
  takeOver(): TakenConnection {
    this.#isTaken = true;
    clearTimeout(this.#headTimer);
    const socket = this.#socket;
    // The listener for errors stays: one must not end the program before the new owner listens.
    socket.off('data', this.#onData).off('end', this.#onEnd).off('close', this.#onClose);
    socket.pause();
    this.destroy();
    return { socket, early: Buffer.concat(this.#waiting), hasEnded: this.#hasEnded };
  }

  override _read(): void {
    if (this.#waitingBytes < maximumWaitingBytes) this.#socket.resume();
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: (error?: Error | null) => void): void {
    this.#socket.write(chunk, done);
  }

  override _final(done: () => void): void {
    this.#socket.once('close', () => done());
    this.#socket.destroySoon();
  }

  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    clearTimeout(this.#headTimer);
    if (!this.#isTaken) this.#socket.destroy();
    done(error);
  }

  readonly #onData = (bytes: Buffer): void => {
    const taken = this.#framer.take(bytes);
    if (this.#framer.hasHead) clearTimeout(this.#headTimer);
    const goesOn = taken === 0 || this.push(bytes.subarray(0, taken));
    if (!goesOn) this.#socket.pause();
    if (taken === bytes.length) return;
    this.#waiting.push(bytes.subarray(taken));
    this.#waitingBytes += bytes.length - taken;
    if (this.#waitingBytes >= maximumWaitingBytes) this.#socket.pause();
  };

  readonly #onEnd = (): void => {
    this.#hasEnded = true;
    this.#passEnd();
  };

  readonly #onError = (): void => {
    // Followed by `close`, which is what matters here.
  };

  readonly #onClose = (): void => {
    this.destroy();
  };

  /** A client that sends no more still gets its answers. */
  #passEnd(): void {
    if (this.#hasEnded && this.#waiting.length === 0 && !this.#framer.isComplete) this.push(null);
  }

  #awaitHead(): void {
    if (this.#headTimeoutMs === undefined) return;
    this.#headTimer = setTimeout(() => this.destroy(), this.#headTimeoutMs);
  }
}
