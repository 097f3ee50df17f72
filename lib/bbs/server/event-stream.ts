import type { ServerResponse } from 'node:http';
import type { Subscriber } from '../events/event-hub.js';
import type { SharedFrame } from '../events/shared-frame.js';

export interface EventStreamOptions {
  response: ServerResponse;
  revision: 0 | 1;
  /** Only events of that cell; empty: of all. */
  cellId: string;
  /** A reader that stays so far behind is cut off, bytes. */
  maximumBytes: number;
  /** Between two signs of life, ms. */
  heartbeatMs: number;
}

/**
 * Calls that were stored together tell their events together: what comes of one moment may be more than a reader may be
 * behind, and one that reads has it a moment later.
 */
const catchUpMs = 1000;
const burstFactor = 16;

/** From this size on events are sent as they are, shared among all streams, and not copied together. */
const copiedBytes = 64 * 1024;

/** A reader that was cut off may take so long to read what was sent before, ms. */
const lingerMs = 30_000;

const heartbeat = Buffer.from(':\n\n');

/**
 * One subscription (docs/protocol/bbs.md §11.1). However it ends, its body ends properly: only so does a Go client learn
 * that it has to begin anew.
 */
export class EventStream implements Subscriber {
  readonly #options: EventStreamOptions;
  readonly #heartbeats: NodeJS.Timeout;
  /** Parts of what goes out when this turn is over. */
  #parts: Buffer[] = [];
  #partBytes = 0;
  #nextId = 0;
  #isEnded = false;
  #linger: NodeJS.Timeout | undefined;
  /** Since when the reader has been too far behind. */
  #behindSince: number | undefined;

  /** Answers the request at once, before there is any event. @param onClose when the reader is gone or was cut off */
  constructor(options: EventStreamOptions, onClose: () => void) {
    const { response, heartbeatMs } = options;
    this.#options = options;
    response.writeHead(200, {
      'Content-Type': 'text/event-stream; charset=utf-8',
      'Cache-Control': 'no-cache, no-store, must-revalidate',
      Connection: 'keep-alive',
    });
    response.flushHeaders();
    this.#heartbeats = setInterval(() => this.#add(heartbeat), heartbeatMs);
    // An answer that waits behind another one on its connection does not hear that the connection is gone.
    const { socket } = response.req;
    const close = () => {
      response.off('close', close);
      socket.off('close', close);
      this.#isEnded = true;
      clearInterval(this.#heartbeats);
      clearTimeout(this.#linger);
      onClose();
    };
    response.once('close', close);
    socket.once('close', close);
  }

  event(frame: SharedFrame): void {
    const { cellId, revision } = this.#options;
    if (this.#isEnded || !frame.isFor(cellId)) return;
    this.#add(Buffer.from(`id: ${this.#nextId}\n`, 'latin1'), frame.text(revision));
    this.#nextId += 1;
  }

  end(): void {
    if (this.#isEnded) return;
    this.#flush();
    this.#isEnded = true;
    clearInterval(this.#heartbeats);
    const { response } = this.#options;
    // By the time the end is written the answer has left its connection.
    const { socket } = response.req;
    this.#linger = setTimeout(() => socket.destroy(), lingerMs);
    response.end(() => socket.destroySoon());
  }

  #add(...parts: Buffer[]): void {
    if (this.#isEnded) return;
    if (this.#parts.length === 0) queueMicrotask(() => this.#flush());
    this.#parts.push(...parts);
    for (const { length } of parts) this.#partBytes += length;
    if (this.#isLost()) this.end();
  }

  #isLost(): boolean {
    const { response, maximumBytes } = this.#options;
    const behindBytes = this.#partBytes + response.writableLength;
    if (behindBytes <= maximumBytes) {
      this.#behindSince = undefined;
      return false;
    }
    const now = performance.now();
    this.#behindSince ??= now;
    return behindBytes > burstFactor * maximumBytes || now - this.#behindSince > catchUpMs;
  }

  #flush(): void {
    if (this.#isEnded || this.#parts.length === 0) return;
    const parts = this.#parts;
    const isSmall = this.#partBytes <= copiedBytes;
    this.#parts = [];
    this.#partBytes = 0;
    const { response } = this.#options;
    if (isSmall) {
      response.write(Buffer.concat(parts));
      return;
    }
    response.cork();
    for (const part of parts) response.write(part);
    response.uncork();
  }
}
