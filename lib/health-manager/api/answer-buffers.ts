/** Shorter answers are not worth it. */
const leastBytes = 64 * 1024;
const mostBytes = 8 * 1024 * 1024;
const mostBuffers = 8;

/** Memory that somebody has for a while. */
export interface Lease {
  readonly bytes: Buffer;
  /** Nobody reads it any more. To be left out when that is not sure: the memory is then forgotten. */
  end(): void;
}

/**
 * Memory for long answers, used again and again: to take a megabyte from the system for each of hundreds of answers in
 * a second keeps the garbage collector busier than everything else.
 */
export class AnswerBuffers {
  readonly #free: Buffer[] = [];

  lease(bytes: number): Lease {
    if (bytes < leastBytes || bytes > mostBytes) return { bytes: Buffer.allocUnsafe(bytes), end() {} };
    const place = this.#free.findIndex((buffer) => buffer.length >= bytes);
    const buffer = place >= 0 ? this.#free.splice(place, 1)[0]! : Buffer.allocUnsafeSlow(sizeFor(bytes));
    let isOver = false;
    return {
      bytes: buffer.subarray(0, bytes),
      end: () => {
        if (!isOver && this.#free.length < mostBuffers) this.#free.push(buffer);
        isOver = true;
      },
    };
  }
}

/** The next power of two, so that answers that grow a little fit again. */
function sizeFor(bytes: number): number {
  return 2 ** Math.ceil(Math.log2(bytes));
}
