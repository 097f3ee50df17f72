import { MalformedResponse } from './malformed-response.js';
import type { ResponseHead } from './response-head.js';

/** Takes a body out of the bytes that carry it, however those are cut. */
export interface BodyDecoder {
  /**
   * What these bytes have of the body, read as it is taken; bytes behind its end are passed over.
   * @throws MalformedResponse where it comes
   */
  push(bytes: Buffer): Iterable<Buffer>;
  /** The body's last byte has come. */
  readonly isComplete: boolean;
  /** Only the connection's end tells the body's end. */
  readonly endsWithConnection: boolean;
}

/** @throws MalformedResponse for framing that is none, or that says two things */
export function bodyDecoderFor({ headers }: ResponseHead): BodyDecoder {
  const encoding = headers.get('transfer-encoding');
  const length = headers.get('content-length');
  if (encoding !== undefined) {
    if (encoding.toLowerCase() === 'chunked' && length === undefined) return new ChunkedDecoder();
    throw new MalformedResponse(`a body of transfer-encoding ${encoding} and content-length ${length ?? 'none'}`);
  }
  if (length === undefined) return new UnframedDecoder();
  if (!/^\d{1,15}$/.test(length)) throw new MalformedResponse(`a body of content-length ${length}`);
  return new CountedDecoder(Number(length));
}

const maximumSizeLineBytes = 4096;
const maximumTrailerBytes = 64 * 1024;

/**
 * `Transfer-Encoding: chunked`, also with extensions behind the sizes. Go's BBS sends an empty one with every chunk,
 * which the parser of `node:http` refuses (docs/protocol/bbs.md §11.1).
 *
 * ```
 * size -> data -> data end -> size ...      size 0 -> trailers -> done
 * ```
 */
class ChunkedDecoder implements BodyDecoder {
  readonly endsWithConnection = false;
  #state: 'size' | 'data' | 'data end' | 'trailers' | 'done' = 'size';
  /** Of the line that has begun. */
  #line = '';
  /** Of the chunk that has begun. */
  #missing = 0;
  #trailerBytes = 0;

  get isComplete(): boolean {
    return this.#state === 'done';
  }

  *push(bytes: Buffer): Generator<Buffer> {
    let at = 0;
    while (at < bytes.length && this.#state !== 'done') {
      if (this.#state === 'data') {
        const piece = bytes.subarray(at, at + this.#missing);
        at += piece.length;
        this.#missing -= piece.length;
        if (this.#missing === 0) this.#state = 'data end';
        yield piece;
      } else {
        at = this.#readLine(bytes, at);
      }
    }
  }

  /** @returns where the bytes behind it begin */
  #readLine(bytes: Buffer, start: number): number {
    const lineFeed = bytes.indexOf(0x0a, start);
    const end = lineFeed < 0 ? bytes.length : lineFeed;
    this.#line += bytes.toString('latin1', start, end);
    if (this.#line.length > maximumSizeLineBytes) {
      throw new MalformedResponse(`a chunk's line of more than ${maximumSizeLineBytes} bytes`);
    }
    if (lineFeed < 0) return bytes.length;
    const line = this.#line.endsWith('\r') ? this.#line.slice(0, -1) : this.#line;
    this.#line = '';
    this.#take(line);
    return lineFeed + 1;
  }

  #take(line: string): void {
    if (this.#state === 'data end') {
      if (line !== '') throw new MalformedResponse('a chunk is longer than its size');
      this.#state = 'size';
    } else if (this.#state === 'size') {
      this.#missing = chunkSize(line);
      this.#state = this.#missing === 0 ? 'trailers' : 'data';
    } else if (line === '') {
      this.#state = 'done';
    } else {
      this.#trailerBytes += line.length;
      if (this.#trailerBytes > maximumTrailerBytes) {
        throw new MalformedResponse(`trailers of more than ${maximumTrailerBytes} bytes`);
      }
    }
  }
}

function chunkSize(line: string): number {
  const [, digits] = /^([0-9a-f]{1,12})[ \t]*(?:;.*)?$/i.exec(line) ?? [];
  if (digits === undefined)
    throw new MalformedResponse(`not the size of a chunk: ${JSON.stringify(line.slice(0, 100))}`);
  return Number.parseInt(digits, 16);
}

/** `Content-Length`. */
class CountedDecoder implements BodyDecoder {
  readonly endsWithConnection = false;

  constructor(private missing: number) {}

  get isComplete(): boolean {
    return this.missing === 0;
  }

  *push(bytes: Buffer): Generator<Buffer> {
    const piece = bytes.subarray(0, this.missing);
    this.missing -= piece.length;
    if (piece.length > 0) yield piece;
  }
}

/** Neither length nor chunks. */
class UnframedDecoder implements BodyDecoder {
  readonly endsWithConnection = true;
  readonly isComplete = false;

  push(bytes: Buffer): Iterable<Buffer> {
    return [bytes];
  }
}
