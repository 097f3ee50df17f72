import type { Socket } from 'node:net';
import { Writable } from 'node:stream';

/**
 * Where the output of a process goes for a reader who may come later: it takes nothing before he is there, and then no
 * more than he takes. What it was given counts as delivered when he has it.
 */
export class Outlet extends Writable {
  #reader: Socket | undefined;
  #held: (() => void) | undefined;

  /** The one reader has come; the outlet goes with him. */
  connect(reader: Socket): void {
    this.#reader = reader;
    reader.once('close', () => this.destroy());
    this.#held?.();
    this.#held = undefined;
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: (error?: Error | null) => void): void {
    if (this.#reader) this.#reader.write(chunk, done);
    else this.#held = () => this.#reader?.write(chunk, done);
  }

  override _final(done: () => void): void {
    this.#reader?.destroySoon();
    done();
  }

  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    this.#held = undefined;
    this.#reader?.destroy();
    done(error);
  }
}
