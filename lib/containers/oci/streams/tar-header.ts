/** Headers of tar archives: ustar, with the older GNU and the pax extensions. */

export const blockLength = 512;

const nameField = { start: 0, length: 100 };
const modeField = { start: 100, length: 8 };
const sizeField = { start: 124, length: 12 };
const checksumField = { start: 148, length: 8 };
const typeOffset = 156;
const magicField = { start: 257, length: 5 };
const prefixField = { start: 345, length: 155 };
const longName = '././@LongLink';
/** Links, devices, directories and fifos: a size in their header says nothing. */
const typesWithoutContent = '123456';

interface Field {
  start: number;
  length: number;
}

/** A header block of an entry that can be changed and written again. */
export class TarHeader {
  readonly #block: Buffer;

  private constructor(block: Buffer) {
    this.#block = block;
  }

  /** Undefined for what is no header: a block of zeros, which ends an archive, or one with a wrong checksum. */
  static parse(block: Buffer): TarHeader | undefined {
    const header = new TarHeader(Buffer.from(block));
    if (block[0] === 0 || parseNumber(block, checksumField) !== checksumOf(block)) return undefined;
    return Number.isSafeInteger(header.size) && header.size >= 0 ? header : undefined;
  }

  get type(): string {
    return String.fromCharCode(this.#block[typeOffset] ?? 0);
  }

  get hasContent(): boolean {
    return !typesWithoutContent.includes(this.type);
  }

  get name(): Buffer {
    const name = textOf(this.#block, nameField);
    const prefix =
      textOf(this.#block, magicField).toString('latin1') === 'ustar' ? textOf(this.#block, prefixField) : '';
    return prefix.length > 0 ? Buffer.concat([prefix as Buffer, Buffer.from('/'), name]) : name;
  }

  get size(): number {
    return parseNumber(this.#block, sizeField);
  }

  set size(size: number) {
    writeNumber(this.#block, sizeField, size);
  }

  get mode(): number {
    return parseNumber(this.#block, modeField);
  }

  set mode(mode: number) {
    writeNumber(this.#block, modeField, mode);
  }

  toBlock(): Buffer {
    writeChecksum(this.#block);
    return this.#block;
  }
}

/**
 * The entry that gives the one after it a longer name, or a longer target of its link, in GNU's way.
 *
 * @param type `L` for the name, `K` for the target
 */
export function longHeader(type: 'L' | 'K', text: Buffer): Buffer {
  const block = Buffer.alloc(blockLength);
  block.write(longName, nameField.start, 'latin1');
  writeNumber(block, modeField, 0);
  writeNumber(block, sizeField, text.length + 1);
  block.write(type, typeOffset, 'latin1');
  block.write('ustar  ', magicField.start, 'latin1');
  writeChecksum(block);
  const content = Buffer.alloc(Math.ceil((text.length + 1) / blockLength) * blockLength);
  text.copy(content);
  return Buffer.concat([block, content]);
}

/** Records of a pax header, `<length> <key>=<value>\n` each; values are bytes. What is malformed ends the reading. */
export function parsePax(content: Buffer): [key: string, value: Buffer][] {
  const records: [string, Buffer][] = [];
  for (let start = 0; start < content.length; ) {
    const space = content.indexOf(0x20, start);
    const length = Number(content.subarray(start, space).toString('latin1'));
    if (space < 0 || !Number.isSafeInteger(length) || length <= 0 || start + length > content.length) break;
    const equals = content.indexOf(0x3d, space);
    const end = start + length - 1;
    if (equals < 0 || equals > end) break;
    records.push([content.subarray(space + 1, equals).toString(), Buffer.from(content.subarray(equals + 1, end))]);
    start += length;
  }
  return records;
}

function textOf(block: Buffer, { start, length }: Field): Buffer {
  const field = block.subarray(start, start + length);
  const end = field.indexOf(0);
  return end < 0 ? field : field.subarray(0, end);
}

/** Octal digits, or binary with the highest bit set when they do not suffice. */
function parseNumber(block: Buffer, { start, length }: Field): number {
  const field = block.subarray(start, start + length);
  // Some writers leave it empty for zero.
  const digits = field.toString('latin1').replaceAll(/[\0 ]/g, '');
  if (((field[0] ?? 0) & 0x80) === 0) return Number.parseInt(digits || '0', 8);
  return field.subarray(1).reduce((value, byte) => value * 256 + byte, field[0]! & 0x7f);
}

function writeNumber(block: Buffer, { start, length }: Field, value: number): void {
  const digits = value.toString(8);
  if (digits.length < length) {
    block.write(`${digits.padStart(length - 1, '0')}\0`, start, 'latin1');
    return;
  }
  let rest = value;
  for (let index = start + length - 1; index > start; index -= 1) {
    block[index] = rest % 256;
    rest = Math.floor(rest / 256);
  }
  block[start] = 0x80;
}

function writeChecksum(block: Buffer): void {
  block.write(`${checksumOf(block).toString(8).padStart(6, '0')}\0 `, checksumField.start, 'latin1');
}

/** The field of the checksum itself counts as spaces. */
function checksumOf(block: Buffer): number {
  const { start, length } = checksumField;
  return block.reduce((sum, byte, index) => sum + (index >= start && index < start + length ? 0x20 : byte), 0);
}
