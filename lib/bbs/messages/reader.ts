import { isUtf8 } from 'node:buffer';
import { joinHalves } from './halves.js';

/** Bytes that are not the message they should be. */
export class MalformedMessage extends Error {
  override readonly name = 'MalformedMessage';
}

export interface ReaderOptions {
  /**
   * What text that is not UTF-8 means: an error, or U+FFFD in its place. A Go BBS cuts texts at a byte
   * (docs/protocol/bbs.md §7.2), so its clients must take them.
   * @default 'refused'
   */
  invalidText?: 'refused' | 'replaced';
  /**
   * More fields are an error: an empty message takes two bytes here and a hundred in memory. Answers have as many as
   * there are rows.
   * @default 500,000, more than any request needs
   */
  maximumFields?: number;
}

/** What the reader needs of a message's type. */
export interface Readable<T> {
  /** Reads until the reader's present end. */
  read(reader: Reader): T;
  /** The empty message. */
  create(): T;
}

/** Deeper nesting than any action has a reason for; it bounds the stack. */
const depthLimit = 500;

const wireTypes = { varint: 0, fixed64: 1, lengthDelimited: 2, startGroup: 3, endGroup: 4, fixed32: 5 } as const;

/** Protobuf's encoding from front to end. Every method throws MalformedMessage where the bytes do not fit. */
export class Reader {
  readonly #bytes: Buffer;
  readonly #replacesInvalidText: boolean;
  #position = 0;
  #end: number;
  #depth = 0;
  #fieldsLeft: number;
  /** Upper half of the varint that was read last. */
  #high = 0;

  constructor(bytes: Uint8Array, options: ReaderOptions = {}) {
    this.#bytes = Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.#replacesInvalidText = options.invalidText === 'replaced';
    this.#end = bytes.length;
    this.#fieldsLeft = options.maximumFields ?? 500_000;
  }

  isAtEnd(): boolean {
    return this.#position >= this.#end;
  }

  /** Field number times eight plus wire type. */
  tag(): number {
    const tag = this.#varint();
    if (this.#high !== 0 || tag < 8) throw new MalformedMessage(`invalid field number before byte ${this.#position}`);
    this.#countField();
    return tag;
  }

  uint32(): number {
    return this.#varint();
  }

  int32(): number {
    return this.#varint() | 0;
  }

  bool(): boolean {
    const low = this.#varint();
    return low !== 0 || this.#high !== 0;
  }

  uint64(): bigint {
    const low = this.#varint();
    return joinHalves(low, this.#high);
  }

  int64(): bigint {
    return BigInt.asIntN(64, this.uint64());
  }

  string(): string {
    const start = this.#skipLength();
    const text = this.#bytes.toString('utf8', start, this.#position);
    // The replacement character may also stand in the bytes themselves.
    if (!this.#replacesInvalidText && text.includes('\ufffd') && !isUtf8(this.#bytes.subarray(start, this.#position))) {
      throw new MalformedMessage(`text that is not UTF-8 at byte ${start}`);
    }
    return text;
  }

  /** A copy. */
  bytes(): Buffer {
    const start = this.#skipLength();
    return Buffer.from(this.#bytes.subarray(start, this.#position));
  }

  message<T>(type: Readable<T>): T {
    const outerEnd = this.#enter();
    const message = type.read(this);
    this.#leave(outerEnd);
    return message;
  }

  /** A list of numbers in one field. */
  packedUint32(list: number[]): void {
    const outerEnd = this.#enter();
    while (!this.isAtEnd()) {
      this.#countField();
      list.push(this.#varint());
    }
    this.#leave(outerEnd);
  }

  stringEntry(map: Map<string, string>): void {
    this.#entry(
      map,
      () => this.string(),
      () => '',
    );
  }

  bytesEntry(map: Map<string, Buffer>): void {
    this.#entry(
      map,
      () => this.bytes(),
      () => Buffer.alloc(0),
    );
  }

  messageEntry<T>(map: Map<string, T>, type: Readable<T>): void {
    this.#entry(
      map,
      () => this.message(type),
      () => type.create(),
    );
  }

  /** Passes over a field that is not known. */
  skip(tag: number): void {
    switch (tag & 7) {
      case wireTypes.varint:
        this.#varint();
        return;
      case wireTypes.fixed64:
        this.#advance(8);
        return;
      case wireTypes.lengthDelimited:
        this.#skipLength();
        return;
      case wireTypes.startGroup:
        this.#skipGroup(tag >>> 3);
        return;
      case wireTypes.fixed32:
        this.#advance(4);
        return;
      default:
        throw new MalformedMessage(`unexpected wire type ${tag & 7} before byte ${this.#position}`);
    }
  }

  #skipGroup(field: number): void {
    this.#deepen();
    for (;;) {
      const tag = this.tag();
      if ((tag & 7) !== wireTypes.endGroup) this.skip(tag);
      else if (tag >>> 3 === field) break;
      else throw new MalformedMessage(`a group ends that did not begin, before byte ${this.#position}`);
    }
    this.#depth -= 1;
  }

  #entry<T>(map: Map<string, T>, read: () => T, zero: () => T): void {
    const outerEnd = this.#enter();
    let key = '';
    let value: T | undefined;
    while (!this.isAtEnd()) {
      const tag = this.tag();
      if (tag === 10) key = this.string();
      else if (tag === 18) value = read();
      else this.skip(tag);
    }
    this.#leave(outerEnd);
    map.set(key, value ?? zero());
  }

  #enter(): number {
    this.#deepen();
    const outerEnd = this.#end;
    const length = this.#length();
    this.#end = this.#position + length;
    return outerEnd;
  }

  #leave(outerEnd: number): void {
    this.#end = outerEnd;
    this.#depth -= 1;
  }

  #countField(): void {
    this.#fieldsLeft -= 1;
    if (this.#fieldsLeft < 0) throw new MalformedMessage(`too many fields before byte ${this.#position}`);
  }

  #deepen(): void {
    this.#depth += 1;
    if (this.#depth > depthLimit) throw new MalformedMessage(`messages nested more than ${depthLimit} deep`);
  }

  /** @returns where what it passes over begins; it ends at the new position */
  #skipLength(): number {
    const length = this.#length();
    const start = this.#position;
    this.#position += length;
    return start;
  }

  #length(): number {
    const length = this.#varint();
    if (this.#high !== 0 || length > this.#end - this.#position) this.#failTruncated();
    return length;
  }

  #advance(count: number): void {
    if (count > this.#end - this.#position) this.#failTruncated();
    this.#position += count;
  }

  #failTruncated(): never {
    throw new MalformedMessage(`the message ends within a field that begins before byte ${this.#position}`);
  }

  /** @returns the lower 32 bits; the upper ones are in #high */
  #varint(): number {
    const bytes = this.#bytes;
    this.#high = 0;
    let low = 0;
    for (let shift = 0; shift < 70; shift += 7) {
      if (this.#position >= this.#end) this.#failTruncated();
      const byte = bytes[this.#position++]!;
      const bits = byte & 0x7f;
      if (shift < 28) low |= bits << shift;
      else if (shift === 28) {
        low |= bits << 28;
        this.#high = bits >>> 4;
      } else {
        // Of the tenth byte one bit has room.
        if (shift === 63 && byte > 1) break;
        this.#high = (this.#high | (bits << (shift - 32))) >>> 0;
      }
      if (byte < 0x80) return low >>> 0;
    }
    throw new MalformedMessage(`a number of more than 64 bits before byte ${this.#position}`);
  }
}
