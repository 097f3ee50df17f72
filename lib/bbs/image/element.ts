import { encode } from '../messages/codec.js';
import type { MessageType } from '../messages/message-type.js';

/** Field 2, a message. Every list of the protocol, and every single row that is asked for, is field 2 of its response. */
const tag = 0x12;

/**
 * A row as it stands in responses: with field number and length in front, so that a list is its elements one after the
 * other, and the answer to the question for one row is its element.
 */
export function elementOf<T extends object>(type: MessageType<T>, message: T): Buffer {
  const bytes = encode(type, message);
  const header = headerLength(bytes.length);
  // Not from Node's pool, where one row that lives on would keep what lies beside it.
  const element = Buffer.allocUnsafeSlow(header + bytes.length);
  element[0] = tag;
  let at = 1;
  let rest = bytes.length;
  for (; rest >= 0x80; rest >>>= 7) element[at++] = (rest & 0x7f) | 0x80;
  element[at] = rest;
  bytes.copy(element, header);
  return element;
}

/** The message within an element. */
export function messageOf(element: Buffer): Buffer {
  let at = 1;
  while (element[at]! >= 0x80) at += 1;
  return element.subarray(at + 1);
}

function headerLength(length: number): number {
  let bytes = 2;
  for (let rest = length; rest >= 0x80; rest >>>= 7) bytes += 1;
  return bytes;
}

/** A list of all rows, put together once for all who ask until a row changes. */
export class WholeList {
  #bytes: Buffer | undefined;

  /** A row has changed. */
  forget(): void {
    this.#bytes = undefined;
  }

  get(elements: () => Iterable<Buffer>): Buffer {
    this.#bytes ??= Buffer.concat([...elements()]);
    return this.#bytes;
  }
}
