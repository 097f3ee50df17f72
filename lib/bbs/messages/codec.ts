import type { MessageType } from './message-type.js';
import { MalformedMessage, Reader, type ReaderOptions } from './reader.js';
import { Writer } from './writer.js';

export { MalformedMessage, type ReaderOptions };

/** Encoding never waits, so one writer serves all. */
const writer = new Writer();

/**
 * The bytes that Go's encoder makes of the message: fields by number, zeros left out, those that Go always writes
 * always written (docs/protocol/bbs-messages.md §0). Entries of maps come in the map's order.
 */
export function encode<T extends object>(type: MessageType<T>, message: T): Buffer {
  try {
    type.write(message, writer);
    return writer.finish();
  } catch (error) {
    writer.reset();
    throw error;
  }
}

/**
 * Reads a message that fills all of the bytes. Fields that are not known, and known ones of another wire type, are
 * passed over; of a field that comes twice the last one counts.
 *
 * @throws MalformedMessage with the message's name and what is wrong with the bytes
 */
export function decode<T extends object>(type: MessageType<T>, bytes: Uint8Array, options?: ReaderOptions): T {
  try {
    return type.read(new Reader(bytes, options));
  } catch (error) {
    if (!(error instanceof MalformedMessage)) throw error;
    throw new MalformedMessage(`not a ${type.name}: ${error.message}`, { cause: error });
  }
}
