/** The other side does not speak the protocol; the connection is of no further use. */
export class FramingError extends Error {}

const carriageReturn = 0x0d;
const newline = 0x0a;
const separator = Buffer.from('\r\n');
/** Ten digits count more than any payload may have. */
const longestLengthLine = 10;
const joinedPieceBytes = 64 * 1024;

/** `<length>\r\n<payload>\r\n`, the length in bytes (docs/protocol/containers.md §1.1). */
export function encodeFrame(payload: Uint8Array): Buffer {
  return Buffer.concat([Buffer.from(`${payload.length}\r\n`), payload, separator]);
}

/**
 * Takes a byte stream apart into payloads, in pieces of any size. Knows nothing of sockets. Never holds more than what
 * has come of one frame, and refuses a frame by its length line when that is too long.
 */
export class FrameParser {
  readonly #maximumBytes: number;
  #pieces: Buffer[] = [];
  #heldBytes = 0;
  /** Payload length of the frame that is coming in; undefined while its length line is. */
  #length: number | undefined;

  /** @param maximumBytes longest payload that is accepted */
  constructor(maximumBytes: number) {
    this.#maximumBytes = maximumBytes;
  }

  /**
   * The payloads that `piece` completes, in order.
   *
   * @throws FramingError; the parser must not be used afterwards
   */
  *push(piece: Buffer): Generator<Buffer> {
    this.#hold(piece);
    for (;;) {
      this.#length ??= this.#takeLengthLine();
      if (this.#length === undefined || this.#heldBytes < this.#length + separator.length) return;
      const frame = this.#take(this.#length + separator.length);
      if (!frame.subarray(this.#length).equals(separator)) throw new FramingError('a payload does not end with CR LF');
      yield frame.subarray(0, this.#length);
      this.#length = undefined;
    }
  }

  /** Joins small pieces of like length, so that a peer that dribbles does not make each byte cost an object. */
  #hold(piece: Buffer): void {
    this.#heldBytes += piece.length;
    let last = piece;
    for (let before = this.#pieces.at(-1); before; before = this.#pieces.at(-1)) {
      if (before.length > last.length || before.length + last.length > joinedPieceBytes) break;
      this.#pieces.pop();
      last = Buffer.concat([before, last]);
    }
    this.#pieces.push(last);
  }

  #takeLengthLine(): number | undefined {
    if (this.#heldBytes === 0) return undefined;
    // Length lines are short: only a peer that dribbles byte by byte makes this join more than one piece.
    const held = this.#join();
    const end = held.subarray(0, longestLengthLine + separator.length).indexOf(newline);
    const line = held.subarray(0, end < 0 ? longestLengthLine + separator.length : end);
    if (end < 0) {
      if (!/^(\d{0,10}|\d{1,10}\r)$/.test(line.toString('latin1'))) throw badLengthLine();
      return undefined;
    }
    const digits = line.subarray(0, -1).toString('latin1');
    if (line.at(-1) !== carriageReturn || !/^\d{1,10}$/.test(digits)) throw badLengthLine();
    const length = Number(digits);
    if (length > this.#maximumBytes) {
      throw new FramingError(`a payload of ${length} bytes is longer than ${this.#maximumBytes}`);
    }
    this.#take(end + 1);
    return length;
  }

  #join(): Buffer {
    const joined = this.#pieces.length === 1 ? this.#pieces[0]! : Buffer.concat(this.#pieces);
    this.#pieces = [joined];
    return joined;
  }

  /** The first `count` bytes, which must be there. */
  #take(count: number): Buffer {
    const held = this.#join();
    this.#pieces = [held.subarray(count)];
    this.#heldBytes -= count;
    return held.subarray(0, count);
  }
}

function badLengthLine(): FramingError {
  return new FramingError('the length line is not a decimal number');
}
