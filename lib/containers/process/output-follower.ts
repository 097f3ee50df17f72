import { open } from 'node:fs/promises';
import type { Writable } from 'node:stream';

/** Wakes those who wait for something to have changed; a change between looking and waiting is not missed. */
export class ChangeSignal {
  private count = 0;
  private wakers: (() => void)[] = [];

  get version(): number {
    return this.count;
  }

  notify(): void {
    this.count += 1;
    const wakers = this.wakers;
    this.wakers = [];
    for (const wake of wakers) wake();
  }

  /** Resolves as soon as the version is another than the one given. */
  async after(version: number): Promise<void> {
    if (this.count === version) await new Promise<void>((resolve) => this.wakers.push(resolve));
  }
}

export interface FollowOptions {
  path: string;
  sink: Writable;
  /** Where to begin. @default 0 */
  offset?: number;
  /** Called when the stream has taken everything up to there. */
  onDelivered?: (offset: number) => void;
  /** Notified when the file may have grown and when `isComplete` may have become true. */
  changes: ChangeSignal;
  /** Whether nothing more will be written. */
  isComplete: () => boolean;
  /** Gives up following. */
  signal: AbortSignal;
}

const chunkBytes = 64 * 1024;

/**
 * Hands a growing file to a stream, from the given place on, at the stream's pace. Resolves when all of it was taken, or
 * the stream does not want more. Leaves the stream open: it may be shared.
 */
export async function followOutput(options: FollowOptions): Promise<void> {
  const { path, sink, changes, isComplete, signal } = options;
  const file = await open(path, 'r');
  // The stream's owner hears of its failure, too; here it only must not end the program.
  const ignoreError = () => {};
  // It may be waiting for output that nobody wants any more.
  const wake = () => changes.notify();
  sink.on('error', ignoreError).on('close', wake);
  try {
    let { offset = 0 } = options;
    while (!signal.aborted && !sink.destroyed) {
      // Asked before reading, so that what was written before the end is read after asking.
      const { version } = changes;
      const isLastRound = isComplete();
      const { bytesRead, buffer } = await file.read(Buffer.alloc(chunkBytes), 0, chunkBytes, offset);
      if (bytesRead > 0) {
        offset += bytesRead;
        if (!(await write(sink, buffer.subarray(0, bytesRead), signal))) return;
        options.onDelivered?.(offset);
      } else if (isLastRound) {
        return;
      } else {
        await changes.after(version);
      }
    }
  } finally {
    sink.off('error', ignoreError).off('close', wake);
    await file.close();
  }
}

/** @returns whether the stream took the chunk and may take more */
function write(sink: Writable, chunk: Buffer, signal: AbortSignal): Promise<boolean> {
  if (sink.destroyed || sink.writableEnded) return Promise.resolve(false);
  return new Promise((resolve) => {
    const giveUp = () => resolve(false);
    signal.addEventListener('abort', giveUp, { once: true });
    sink.write(chunk, (error) => {
      signal.removeEventListener('abort', giveUp);
      resolve(!error);
    });
  });
}
