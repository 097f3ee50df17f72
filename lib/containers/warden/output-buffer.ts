import { once } from 'node:events';
import { Writable } from 'node:stream';
import { ChangeSignal } from '../oci/supervisor/change-signal.js';

/** The two streams of a job, by their names on the wire. */
export const outputNames = ['stdout', 'stderr'] as const;
export type OutputName = (typeof outputNames)[number];

/** Neighbouring pieces are joined up to here, so that byte-wise output does not cost an object per byte. */
const joinedPieceBytes = 4096;

/**
 * All output of a job, in memory, up to a limit for both streams together; what comes beyond it is dropped. Any number
 * of readers go through it from the beginning, each at its own pace, without copies of their own.
 */
export class OutputBuffer {
  readonly #pieces: Record<OutputName, Buffer[]> = { stdout: [], stderr: [] };
  readonly #changes = new ChangeSignal();
  readonly #limitBytes: number;
  readonly #onOverflow: () => void;
  #bytes = 0;
  #hasOverflowed = false;
  #isComplete = false;

  /** @param onOverflow called once, when more comes than the limit */
  constructor(options: { limitBytes: number; onOverflow?: () => void }) {
    this.#limitBytes = options.limitBytes;
    this.#onOverflow = options.onOverflow ?? (() => {});
  }

  /** A stream to write one of the two into; it takes everything at once. */
  sink(name: OutputName): Writable {
    return new Writable({
      write: (chunk: Buffer, _encoding, done) => {
        this.append(name, chunk);
        done();
      },
    });
  }

  append(name: OutputName, chunk: Buffer): void {
    const room = this.#limitBytes - this.#bytes;
    const kept = chunk.length > room ? chunk.subarray(0, room) : chunk;
    this.#bytes += kept.length;
    if (kept.length > 0) this.#keep(this.#pieces[name], kept);
    this.#changes.notify();
    if (kept.length === chunk.length || this.#hasOverflowed) return;
    this.#hasOverflowed = true;
    this.#onOverflow();
  }

  /** Nothing will be appended any more: readers come to an end. */
  complete(): void {
    this.#isComplete = true;
    this.#changes.notify();
  }

  /** Everything so far. */
  contentOf(name: OutputName): Buffer {
    return Buffer.concat(this.#pieces[name]);
  }

  /** From the beginning to the end of both streams; order holds within each of them. Ends early on abort. */
  async *read(signal: AbortSignal): AsyncGenerator<{ name: OutputName; data: Buffer }> {
    const positions = { stdout: { piece: 0, offset: 0 }, stderr: { piece: 0, offset: 0 } };
    const wake = () => this.#changes.notify();
    signal.addEventListener('abort', wake);
    try {
      while (!signal.aborted) {
        const { version } = this.#changes;
        const isComplete = this.#isComplete;
        let hasGiven = false;
        for (const name of outputNames) {
          const data = this.#next(name, positions[name]);
          if (data === undefined) continue;
          hasGiven = true;
          yield { name, data };
          if (signal.aborted) return;
        }
        if (hasGiven) continue;
        if (isComplete) return;
        await this.#changes.changedSince(version);
      }
    } finally {
      signal.removeEventListener('abort', wake);
    }
  }

  /** Gives all output to a process's streams, at their pace; a stream that fails or closes is left out. */
  async copyTo(sinks: Partial<Record<OutputName, Writable | undefined>>, signal: AbortSignal): Promise<void> {
    const streams = outputNames.flatMap((name) => sinks[name] ?? []);
    // Its owner hears of an error, too; here it only must not go unheard.
    const ignore = () => {};
    for (const stream of streams) stream.on('error', ignore);
    try {
      for await (const { name, data } of this.read(signal)) {
        const sink = sinks[name];
        if (!sink || sink.destroyed || sink.writableEnded || sink.write(data)) continue;
        await writable(sink, signal);
      }
    } finally {
      for (const stream of streams) stream.off('error', ignore);
    }
  }

  /** The bytes are copied: a piece may be a small part of something large. */
  #keep(pieces: Buffer[], bytes: Buffer): void {
    const last = pieces.at(-1);
    if (last && last.length + bytes.length <= joinedPieceBytes) {
      pieces[pieces.length - 1] = Buffer.concat([last, bytes]);
      return;
    }
    pieces.push(Buffer.from(bytes));
  }

  #next(name: OutputName, position: { piece: number; offset: number }): Buffer | undefined {
    const pieces = this.#pieces[name];
    for (;;) {
      const piece = pieces[position.piece];
      if (!piece) return undefined;
      const rest = piece.subarray(position.offset);
      const isLast = position.piece === pieces.length - 1;
      // The last one may still grow; the ones before never do.
      if (isLast) position.offset = piece.length;
      else {
        position.piece += 1;
        position.offset = 0;
      }
      if (rest.length > 0) return rest;
      if (isLast) return undefined;
    }
  }
}

/** Resolves when the stream takes more, or never will, or nobody cares any more. */
async function writable(sink: Writable, signal: AbortSignal): Promise<void> {
  const settled = new AbortController();
  const either = { signal: AbortSignal.any([signal, settled.signal]) };
  await Promise.race([once(sink, 'drain', either), once(sink, 'close', either)]).catch(() => {});
  settled.abort();
}
