/**
 * Memory that files pass through, used again and again: new memory costs about as much as copying a file into it, and
 * what was just used is still in the processor's cache.
 */
export class BufferPool {
  private readonly free: Buffer[] = [];

  /** @param maximumFree buffers that are kept for the next who want one */
  constructor(
    private readonly bytes: number,
    private readonly maximumFree: number,
  ) {}

  /** A buffer that nobody else has. Whoever takes it gives it back, or leaves it to the garbage collector. */
  take(): Buffer {
    return this.free.pop() ?? Buffer.allocUnsafeSlow(this.bytes);
  }

  /** @param buffer one that was taken, and is given back once; nobody may use it any more */
  give(buffer: Buffer): void {
    if (this.free.length < this.maximumFree) this.free.push(buffer);
  }
}
