import { halvesOf } from './halves.js';

/** What the writer needs of a message's type. */
export interface Writable<T> {
  /** Appends in front of what the writer holds, last field first. */
  write(message: T, writer: Writer): void;
}

const initialBytes = 4096;
/** A buffer that grew beyond it for one large message is not kept. */
const keptBytes = 1024 * 1024;
/** Up to so many characters are faster copied one by one than by a call into the runtime. */
const shortText = 64;

/**
 * Protobuf's encoding from the end to the front: the length that stands before a message is known by the time it is
 * written. So a field's value is written first, then its tag.
 */
export class Writer {
  #buffer = Buffer.allocUnsafeSlow(initialBytes);
  /** Index of the first byte that is written. */
  #start = initialBytes;

  /** @returns a copy of what was written; the writer is empty again */
  finish(): Buffer {
    const bytes = Buffer.from(this.#buffer.subarray(this.#start));
    this.reset();
    return bytes;
  }

  reset(): void {
    if (this.#buffer.length > keptBytes) this.#buffer = Buffer.allocUnsafeSlow(initialBytes);
    this.#start = this.#buffer.length;
  }

  tag(tag: number): void {
    this.#varint(tag);
  }

  uint32(value: number): void {
    this.#varint(value >>> 0);
  }

  /** A negative one takes ten bytes. */
  int32(value: number): void {
    if (value >= 0) this.#varint(value);
    else this.#varint64(value >>> 0, 0xffffffff);
  }

  bool(value: boolean): void {
    this.#varint(value ? 1 : 0);
  }

  uint64(value: bigint): void {
    const [low, high] = halvesOf(value);
    this.#varint64(low, high);
  }

  int64(value: bigint): void {
    this.uint64(value);
  }

  string(value: string): void {
    if (value.length <= shortText && this.#ascii(value)) return;
    const length = Buffer.byteLength(value, 'utf8');
    const at = this.#reserve(length);
    this.#buffer.write(value, at, length, 'utf8');
    this.#varint(length);
  }

  bytes(value: Uint8Array): void {
    const at = this.#reserve(value.length);
    this.#buffer.set(value, at);
    this.#varint(value.length);
  }

  message<T>(tag: number, type: Writable<T>, message: T): void {
    const end = this.#written();
    type.write(message, this);
    this.#varint(this.#written() - end);
    this.#varint(tag);
  }

  stringMap(tag: number, map: ReadonlyMap<string, string>): void {
    this.#map(tag, map, (value) => {
      this.string(value);
      this.#varint(18);
    });
  }

  bytesMap(tag: number, map: ReadonlyMap<string, Uint8Array>): void {
    this.#map(tag, map, (value) => {
      this.bytes(value);
      this.#varint(18);
    });
  }

  messageMap<T>(tag: number, map: ReadonlyMap<string, T>, type: Writable<T>): void {
    this.#map(tag, map, (value) => this.message(18, type, value));
  }

  /** Go writes an entry's key and value even when they are empty. */
  #map<T>(tag: number, map: ReadonlyMap<string, T>, writeValue: (value: T) => void): void {
    if (map.size === 0) return;
    for (const [key, value] of [...map].reverse()) {
      const end = this.#written();
      writeValue(value);
      this.string(key);
      this.#varint(10);
      this.#varint(this.#written() - end);
      this.#varint(tag);
    }
  }

  /** @returns false, and nothing is written, where it is more than ASCII */
  #ascii(value: string): boolean {
    const at = this.#reserve(value.length);
    for (let index = 0; index < value.length; index += 1) {
      const code = value.charCodeAt(index);
      if (code >= 0x80) {
        this.#start += value.length;
        return false;
      }
      this.#buffer[at + index] = code;
    }
    this.#varint(value.length);
    return true;
  }

  #written(): number {
    return this.#buffer.length - this.#start;
  }

  #varint(value: number): void {
    if (value < 0x80) {
      const at = this.#reserve(1);
      this.#buffer[at] = value;
      return;
    }
    const length = value < 0x4000 ? 2 : value < 0x200000 ? 3 : value < 0x10000000 ? 4 : 5;
    let at = this.#reserve(length);
    let rest = value;
    while (rest >= 0x80) {
      this.#buffer[at] = (rest & 0x7f) | 0x80;
      rest >>>= 7;
      at += 1;
    }
    this.#buffer[at] = rest;
  }

  #varint64(low: number, high: number): void {
    if (high === 0) {
      this.#varint(low);
      return;
    }
    const bits = 64 - Math.clz32(high);
    let at = this.#reserve(Math.ceil(bits / 7));
    let restLow = low;
    let restHigh = high;
    while (restHigh !== 0 || restLow >= 0x80) {
      this.#buffer[at] = (restLow & 0x7f) | 0x80;
      restLow = ((restLow >>> 7) | (restHigh << 25)) >>> 0;
      restHigh >>>= 7;
      at += 1;
    }
    this.#buffer[at] = restLow;
  }

  /** @returns the index of the first of so many bytes before those written */
  #reserve(count: number): number {
    if (count > this.#start) this.#grow(count);
    this.#start -= count;
    return this.#start;
  }

  #grow(count: number): void {
    const written = this.#written();
    const larger = Buffer.allocUnsafeSlow(Math.max(this.#buffer.length * 2, written + count));
    this.#buffer.copy(larger, larger.length - written, this.#start);
    this.#buffer = larger;
    this.#start = larger.length - written;
  }
}
