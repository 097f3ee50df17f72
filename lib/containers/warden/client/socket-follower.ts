import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import type { Writable } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import type { DeliveryCursor } from '../../delivery-cursor.js';

export interface SocketFollowerOptions {
  /** `<container path>/jobs/<job>/stdout.sock`, or that of the error output. */
  path: string;
  sink: Writable;
  /** How far the output was given to anyone. */
  cursor: DeliveryCursor;
  /** Leaves out what was given to anyone before; otherwise all comes that is still there. */
  skipsDelivered: boolean;
  /** Settles when the job has ended. */
  exited: Promise<unknown>;
  /** Called once when nobody serves the socket of a job that runs. */
  onMissing: () => void;
  /** Gives up following. */
  signal: AbortSignal;
}

const positionBytes = 4;
const positionRange = 2 ** 32;
const reconnectPauseMs = 200;
/** As long as others beside a Warden try to connect to a new job. */
const triesUntilMissing = 10;

/**
 * Gives an output of a job to a stream, at its pace, from the socket that a Warden serves for it
 * (docs/protocol/dea.md §15): the position of the first byte, the last 64 KiB, then what comes, until the job has ended
 * or its server. By the position what is given again after a reconnection is told from what is new. Never rejects.
 */
export class SocketFollower {
  readonly #options: SocketFollowerOptions;
  /** Bytes of the output that need not be given to the sink any more. */
  #given: number;

  constructor(options: SocketFollowerOptions) {
    this.#options = options;
    this.#given = options.skipsDelivered ? options.cursor.offset : 0;
  }

  /** Resolves when the job has ended and all that could be read was given, or the sink takes no more. */
  async follow(): Promise<void> {
    const { exited, signal, sink, onMissing } = this.#options;
    let hasExited = false;
    const exit = exited.then(
      () => {},
      () => {},
    );
    void exit.then(() => {
      hasExited = true;
    });
    const ignore = () => {};
    sink.on('error', ignore);
    let failures = 0;
    try {
      while (!signal.aborted && !sink.destroyed) {
        const isLast = hasExited;
        const wasServed = await this.#readOnce();
        if (isLast) return;
        failures = wasServed ? 0 : failures + 1;
        if (failures === triesUntilMissing) onMissing();
        await Promise.race([exit, sleep(reconnectPauseMs, undefined, { signal }).catch(() => {})]);
      }
    } finally {
      sink.off('error', ignore);
    }
  }

  /** @returns whether anybody served it */
  async #readOnce(): Promise<boolean> {
    const socket = connect(this.#options.path);
    const giveUp = () => socket.destroy();
    this.#options.signal.addEventListener('abort', giveUp);
    try {
      await once(socket, 'connect');
      await this.#pass(socket);
      return true;
    } catch {
      // Nobody serves it, or no longer; what was read was given.
      return false;
    } finally {
      this.#options.signal.removeEventListener('abort', giveUp);
      socket.destroy();
    }
  }

  async #pass(socket: Socket): Promise<void> {
    const { sink, cursor } = this.#options;
    let header = Buffer.alloc(0);
    let position: number | undefined;
    for await (const piece of socket as AsyncIterable<Buffer>) {
      let rest = piece;
      if (position === undefined) {
        header = Buffer.concat([header, piece]);
        if (header.length < positionBytes) continue;
        position = nearest(header.readUInt32BE(0), Math.max(this.#given, cursor.offset));
        rest = header.subarray(positionBytes);
      }
      const fresh = rest.subarray(Math.max(0, this.#given - position));
      position += rest.length;
      if (fresh.length === 0) continue;
      if (!sink.write(fresh)) await drained(sink, this.#options.signal);
      if (sink.destroyed) return;
      this.#given = position;
      cursor.advance(position);
    }
  }
}

/** The position with these lowest 32 bits that is nearest to a known one. */
function nearest(lowBits: number, known: number): number {
  const epoch = Math.round((known - lowBits) / positionRange);
  return lowBits + Math.max(0, epoch) * positionRange;
}

async function drained(sink: Writable, signal: AbortSignal): Promise<void> {
  const settled = new AbortController();
  const either = { signal: AbortSignal.any([signal, settled.signal]) };
  await Promise.race([once(sink, 'drain', either), once(sink, 'close', either)]).catch(() => {});
  settled.abort();
}
