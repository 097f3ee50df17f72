import type { FileHandle } from 'node:fs/promises';
import type { ServerResponse } from 'node:http';

/** The client went away, or takes nothing for too long. */
export class ClientGoneError extends Error {}

const pieceBytes = 64 * 1024;

/** Writes a response at the client's pace, and learns at once when the client leaves. */
export class ChunkWriter {
  private readonly abort = new AbortController();

  constructor(
    private readonly response: ServerResponse,
    /** Milliseconds that a client may take nothing. */
    private readonly stallMs: number,
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
    if (!this.response.write(chunk)) await this.drained();
  }

  /**
   * Copies a piece of a file.
   * @returns bytes copied; fewer than `length` when the file ends before
   * @throws ClientGoneError, or what the file system says
   */
  async copy(file: FileHandle, start: number, length: number): Promise<number> {
    let copied = 0;
    while (copied < length) {
      // One for each piece: the response may keep it until the client takes it.
      const buffer = Buffer.allocUnsafe(Math.min(pieceBytes, length - copied));
      const { bytesRead } = await file.read(buffer, 0, buffer.length, start + copied);
      if (bytesRead === 0) break;
      await this.write(buffer.subarray(0, bytesRead));
      copied += bytesRead;
    }
    return copied;
  }

  private drained(): Promise<void> {
    return new Promise((resolve, reject) => {
      const settle = (act: () => void) => () => {
        clearTimeout(timer);
        this.response.off('drain', onDrain);
        this.gone.removeEventListener('abort', onGone);
        act();
      };
      const onDrain = settle(resolve);
      const onGone = settle(() => reject(this.gone.reason));
      const onStall = settle(() => reject(new ClientGoneError('the client reads nothing')));
      const timer = setTimeout(onStall, this.stallMs);
      this.response.once('drain', onDrain);
      this.gone.addEventListener('abort', onGone);
    });
  }
}
