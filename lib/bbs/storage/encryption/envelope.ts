import { decode, encode, MalformedMessage } from '../../messages/codec.js';
import type { MessageType } from '../../messages/message-type.js';
import { type KeyRing, Undecodable } from './key-ring.js';

/** Format and version of what follows (docs/protocol/bbs.md §15, Encoded value). */
const envelope = Buffer.of(2, 0);

/** A message as it stands in an encrypted column. */
export function sealMessage<T extends object>(keys: KeyRing, type: MessageType<T>, message: T): string {
  return keys.seal(Buffer.concat([envelope, encode(type, message)]));
}

/** @throws Undecodable */
export function openMessage<T extends object>(keys: KeyRing, type: MessageType<T>, sealed: string): T {
  const plaintext = keys.open(sealed);
  if (!plaintext.subarray(0, envelope.length).equals(envelope)) {
    throw new Undecodable(`a ${type.name} has another envelope than 02 00`);
  }
  try {
    // What a Go board has cut within a character is taken (docs/protocol/bbs.md §7.2).
    return decode(type, plaintext.subarray(envelope.length), {
      invalidText: 'replaced',
      maximumFields: Number.POSITIVE_INFINITY,
    });
  } catch (error) {
    if (error instanceof MalformedMessage) throw new Undecodable(error.message, { cause: error });
    throw error;
  }
}

/** JSON text as it stands in an encrypted column: without an envelope. */
export function sealJson(keys: KeyRing, text: string): string {
  return keys.seal(Buffer.from(text));
}

/** @throws Undecodable */
export function openText(keys: KeyRing, sealed: string): string {
  return keys.open(sealed).toString('utf8');
}

/** @throws Undecodable */
export function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    // What V8 says of it quotes the text.
    throw new Undecodable('not JSON', { cause: new Error((error as Error).name) });
  }
}
