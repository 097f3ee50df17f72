/** Few large pieces go through a pipe faster than many small ones. */
const pieceBytes = 64 * 1024;

/** Gathers the small pieces of an archive. */
export class Packer {
  #parts: Buffer[] = [];
  #bytes = 0;

  add(part: Buffer): void {
    this.#parts.push(part);
    this.#bytes += part.length;
  }

  /** What was gathered, if it is enough to be sent. */
  *full(): Generator<Buffer> {
    if (this.#bytes >= pieceBytes) yield* this.rest();
  }

  /** What was gathered. */
  *rest(): Generator<Buffer> {
    if (this.#bytes === 0) return;
    const piece = this.#parts.length === 1 ? this.#parts[0]! : Buffer.concat(this.#parts);
    this.#parts = [];
    this.#bytes = 0;
    yield piece;
  }

  /** Passes a content on, with zeros after it. */
  async *content(source: AsyncIterable<Buffer>, padding: number): AsyncGenerator<Buffer> {
    for await (const part of source) {
      this.add(part);
      yield* this.full();
    }
    if (padding > 0) this.add(Buffer.alloc(padding));
    yield* this.full();
  }
}
