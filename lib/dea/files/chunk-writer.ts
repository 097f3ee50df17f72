import type { FileHandle } from 'node:fs/promises';
import type { ServerResponse } from 'node:http';
import { BufferPool } from '../../files/buffer-pool.js';

/** The client went away, or takes nothing for too long. */
export class ClientGoneError extends Error {}

const partBytes = 128 * 1024;

/** Memory for the parts of files that are on their way to clients; what one response needs is kept for the next. */
export function partBuffers(): BufferPool {
  return new BufferPool(partBytes, 16);
}

/**
 * Ends a response with its only bytes, and waits until the client has them if the kernel did not take them at once.
 * @param stallMs milliseconds that the client may take nothing
 * @throws ClientGoneError
 */
export async function endWith(response: ServerResponse, bytes: Buffer, stallMs: number): Promise<void> {
  response.end(bytes);
  if (response.writableLength > 0) await new ChunkWriter(response, stallMs).finished();
}

/** Writes a response at the client's pace, and learns at once when the client leaves. */
export class ChunkWriter {
  private readonly abort = new AbortController();

  constructor(
    private readonly response: ServerResponse,
    /** Milliseconds that a client may take nothing. */
    private readonly stallMs: number,
    /** Made by `partBuffers`. @default memory is made for each part */
    private readonly buffers?: BufferPool,
  ) {
    response.once('close', () => this.abort.abort(new ClientGoneError('the client went away')));
    if (response.destroyed) this.abort.abort(new ClientGoneError('the client went away'));
  }

  /** Aborted when the client has gone. */
  get gone(): AbortSignal {
    return this.abort.signal;
  }

  /** @throws ClientGoneError */
  async write(chunk: Buffer | string): Promise<void> {
    this.gone.throwIfAborted();
    if (!this.response.write(chunk)) await this.settled('drain');
  }

  /** Ends the response with its last bytes, and waits until the client has them. @throws ClientGoneError */
  async end(chunk: Buffer | string = ''): Promise<void> {
    this.gone.throwIfAborted();
    this.response.end(chunk);
    await this.finished();
  }

  /** Waits until the client has all of a response that was ended. @throws ClientGoneError */
  async finished(): Promise<void> {
    this.gone.throwIfAborted();
    if (this.response.writableLength > 0) await this.settled('finish');
  }

  /**
   * Copies a piece of a file. While one part of it is on its way to the client the next is read, into one of two buffers
   * in turn.
   * @returns bytes copied; fewer than `length` when the file ends before
   * @throws ClientGoneError, or what the file system says
   */
  async copy(file: FileHandle, start: number, length: number): Promise<number> {
    const parts = length > partBytes ? [new Part(), new Part()] : [new Part()];
    const pool = length > partBytes / 2 ? this.buffers : undefined;
    let copied = 0;
    for (let turn = 0; copied < length; turn += 1) {
      const part = parts[turn % parts.length]!;
      await part.taken;
      const wanted = Math.min(partBytes, length - copied);
      part.buffer ??= pool?.take() ?? Buffer.allocUnsafeSlow(wanted);
      const { bytesRead } = await file.read(part.buffer, 0, wanted, start + copied);
      if (bytesRead === 0) break;
      part.taken = this.taken(part.buffer.subarray(0, bytesRead));
      // Awaited in its turn; an error must not count as unhandled until then.
      part.taken.catch(() => undefined);
      copied += bytesRead;
    }
    for (const { taken } of parts) await taken;
    // Not after a failure: the response may hold on to the memory then.
    for (const { buffer } of parts) if (buffer) pool?.give(buffer);
    return copied;
  }

  /** Resolves when the response keeps nothing of the chunk any more. */
  private taken(chunk: Buffer): Promise<void> {
    this.gone.throwIfAborted();
    return this.unlessGone((onTaken) => {
      this.response.write(chunk, (error) => {
        if (!error) onTaken();
      });
      return () => undefined;
    });
  }

  private settled(event: 'drain' | 'finish'): Promise<void> {
    return this.unlessGone((onSettled) => {
      this.response.once(event, onSettled);
      return () => this.response.off(event, onSettled);
    });
  }

  /** Waits until what was begun is done; `begin` gives what takes it back. @throws ClientGoneError when the client leaves or stalls before */
  private unlessGone(begin: (onDone: () => void) => () => void): Promise<void> {
    return new Promise((resolve, reject) => {
      const settle = (act: () => void) => () => {
        clearTimeout(timer);
        takeBack();
        this.gone.removeEventListener('abort', onGone);
        act();
      };
      const onGone = settle(() => reject(this.gone.reason));
      const onStall = settle(() => reject(new ClientGoneError('the client reads nothing')));
      const timer = setTimeout(onStall, this.stallMs);
      this.gone.addEventListener('abort', onGone);
      const takeBack = begin(settle(resolve));
    });
  }
}

/** Memory that a part of a file passes through. */
class Part {
  buffer: Buffer | undefined;
  /** Settles when the response keeps nothing of the buffer any more. */
  taken = Promise.resolve();
}
