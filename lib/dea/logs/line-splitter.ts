/** Longest line in bytes, and how a longer one ends (docs/protocol/dea.md §21.1). */
const longestLine = 8704;
const truncationMark = Buffer.from('TRUNCATED');

const newline = 0x0a;
const carriageReturn = 0x0d;

/**
 * Cuts a stream of bytes into the lines of an app's log (docs/protocol/dea.md §21.1): `\n` and `\r` end a line, blank
 * ones are left out, too long ones are cut. Holds no more than one line that is not complete yet.
 */
export class LineSplitter {
  #parts: Buffer[] = [];
  #length = 0;

  /** The lines that this piece completes. */
  push(piece: Buffer): Buffer[] {
    const lines: Buffer[] = [];
    let start = 0;
    for (let at = 0; at < piece.length; at += 1) {
      if (piece[at] !== newline && piece[at] !== carriageReturn) continue;
      this.#hold(piece.subarray(start, at));
      start = at + 1;
      lines.push(...this.flush());
    }
    this.#hold(piece.subarray(start));
    return lines;
  }

  /** What is there of the last line, when no more will come. */
  flush(): Buffer[] {
    const line = cut(this.#parts.length === 1 ? this.#parts[0]! : Buffer.concat(this.#parts));
    this.#parts = [];
    this.#length = 0;
    return isBlank(line) ? [] : [line];
  }

  /** What is beyond the longest line is only known to be there. */
  #hold(part: Buffer): void {
    const wanted = part.subarray(0, longestLine + 1 - this.#length);
    if (wanted.length === 0) return;
    this.#parts.push(wanted);
    this.#length += wanted.length;
  }
}

/** The lines of a text that is complete. */
export function linesOf(text: string): Buffer[] {
  const splitter = new LineSplitter();
  return [...splitter.push(Buffer.from(text)), ...splitter.flush()];
}

function isBlank(line: Buffer): boolean {
  return line.every((byte) => byte === 0x20 || (byte >= 0x09 && byte <= 0x0d));
}

/** Never in the middle of a character. */
function cut(line: Buffer): Buffer {
  if (line.length <= longestLine) return line;
  let end = longestLine - truncationMark.length;
  for (let back = 0; back < 3 && (line[end]! & 0xc0) === 0x80; back += 1) end -= 1;
  return Buffer.concat([line.subarray(0, end), truncationMark]);
}
