import { JsonScanner } from './scanner.js';

const quote = 0x22;
const backslash = 0x5c;

/**
 * The members of an object as they are written, by key in lower case; of one key that comes again the last. For values
 * that a decoder would change: the strings of Garden's streams hold bytes that need not be UTF-8.
 *
 * @param object one complete JSON object
 */
export function membersOf(object: Buffer): Map<string, Buffer> {
  const members = new Map<string, Buffer>();
  let position = object.indexOf('{') + 1;
  for (;;) {
    const keyStart = object.indexOf(quote, position);
    if (keyStart < 0) return members;
    const keyEnd = new JsonScanner().scan(object, keyStart)!;
    const valueStart = object.indexOf(':', keyEnd) + 1;
    const valueEnd = new JsonScanner().scan(object, valueStart)!;
    const key: string = JSON.parse(object.toString('utf8', keyStart, keyEnd));
    members.set(key.toLowerCase(), object.subarray(valueStart, valueEnd));
    position = valueEnd;
  }
}

/** What a string literal stands for: bytes as they are, escapes as UTF-8, of half a pair, too. */
export function bytesOfLiteral(literal: Buffer): Buffer {
  const text = literal.subarray(literal.indexOf(quote) + 1, literal.lastIndexOf(quote));
  const parts: Buffer[] = [];
  let start = 0;
  for (let at = text.indexOf(backslash); at >= 0; at = text.indexOf(backslash, start)) {
    parts.push(text.subarray(start, at));
    const { bytes, end } = escapeAt(text, at);
    parts.push(bytes);
    start = end;
  }
  return parts.length === 0 ? text : Buffer.concat([...parts, text.subarray(start)]);
}

/** A string literal that stands for these bytes; those that are no UTF-8 are in it as they are. */
export function literalOfBytes(bytes: Buffer): Buffer {
  return Buffer.from(JSON.stringify(bytes.toString('latin1')), 'latin1');
}

const escapeLength = 2;
const unicodeEscapeLength = 6;
const unicodeEscape = /^\\u[0-9a-fA-F]{4}$/;

function escapeAt(text: Buffer, at: number): { bytes: Buffer; end: number } {
  const isUnicode = text[at + 1] === 'u'.charCodeAt(0);
  if (!isUnicode) {
    const end = at + escapeLength;
    return { bytes: Buffer.from(JSON.parse(`"${text.toString('latin1', at, end)}"`)), end };
  }
  const unit = unitAt(text, at)!;
  const next = isHighSurrogate(unit) ? unitAt(text, at + unicodeEscapeLength) : undefined;
  if (next !== undefined && isLowSurrogate(next)) {
    return { bytes: Buffer.from(String.fromCharCode(unit, next)), end: at + 2 * unicodeEscapeLength };
  }
  return { bytes: encodeUnit(unit), end: at + unicodeEscapeLength };
}

/** The number that an escape stands for; undefined when there is none. */
function unitAt(text: Buffer, at: number): number | undefined {
  const written = text.toString('latin1', at, at + unicodeEscapeLength);
  return unicodeEscape.test(written) ? Number.parseInt(written.slice(2), 16) : undefined;
}

/** A half of a pair has no UTF-8; it gets the three bytes that it would have. */
function encodeUnit(unit: number): Buffer {
  if (!isHighSurrogate(unit) && !isLowSurrogate(unit)) return Buffer.from(String.fromCharCode(unit));
  return Buffer.from([0xe0 | (unit >> 12), 0x80 | ((unit >> 6) & 0x3f), 0x80 | (unit & 0x3f)]);
}

function isHighSurrogate(unit: number): boolean {
  return unit >= 0xd800 && unit < 0xdc00;
}

function isLowSurrogate(unit: number): boolean {
  return unit >= 0xdc00 && unit < 0xe000;
}
