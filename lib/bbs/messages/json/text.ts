/** Text that is not the JSON it should be; the message names the place. */
export class InvalidJson extends Error {
  override readonly name = 'InvalidJson';
}

const openers = new Set([0x7b, 0x5b]);
const closers = new Set([0x7d, 0x5d]);
const quote = 0x22;
const backslash = 0x5c;
const whiteSpace = new Set([0x20, 0x09, 0x0a, 0x0d]);
/** `<`, `>`, `&`. */
const escapedBytes = new Set([0x3c, 0x3e, 0x26]);

/**
 * A JSON text as Go stores and prints it: without white space, with `<`, `>`, `&`, U+2028 and U+2029 as `\u....`.
 * Numbers, the order of keys and keys that come twice stay as they are (docs/protocol/bbs.md §14).
 *
 * @throws InvalidJson
 */
export function compactJson(text: Buffer): Buffer {
  requireJson(text.toString('utf8'));
  const pieces: Buffer[] = [];
  let isInString = false;
  let kept = 0;
  for (let at = 0; at < text.length; at += 1) {
    const byte = text[at]!;
    if (!isInString) {
      if (byte === quote) isInString = true;
      else if (whiteSpace.has(byte)) {
        pieces.push(text.subarray(kept, at));
        kept = at + 1;
      }
    } else if (byte === backslash) at += 1;
    else if (byte === quote) isInString = false;
    else {
      const length = escapedLength(text, at);
      if (length === 0) continue;
      const character = text.toString('utf8', at, at + length);
      pieces.push(text.subarray(kept, at), Buffer.from(escapeCharacter(character)));
      kept = at + length;
      at = kept - 1;
    }
  }
  pieces.push(text.subarray(kept));
  return Buffer.concat(pieces);
}

/** A string as Go prints it. */
export function quoteJson(value: string): string {
  return JSON.stringify(value).replace(/[<>&\u2028\u2029]/g, escapeCharacter);
}

/** @throws InvalidJson */
export function requireJson(text: string): void {
  try {
    JSON.parse(text);
  } catch (error) {
    throw new InvalidJson(error instanceof Error ? error.message : String(error), { cause: error });
  }
}

/**
 * The members of an object, each with its value's text as it stands there.
 *
 * @param text valid JSON
 */
export function membersOf(text: string): [key: string, value: string][] {
  return topLevelItems(text).map((item) => {
    const colon = endOfString(item, item.indexOf('"'));
    const key: unknown = JSON.parse(item.slice(0, colon));
    return [String(key), item.slice(item.indexOf(':', colon) + 1).trim()];
  });
}

/**
 * The elements of an array, as they stand there.
 *
 * @param text valid JSON
 */
export function elementsOf(text: string): string[] {
  return topLevelItems(text).map((item) => item.trim());
}

/** What stands between the commas of the outermost braces or brackets. */
function topLevelItems(text: string): string[] {
  const items: string[] = [];
  let depth = 0;
  let start = 0;
  for (let at = 0; at < text.length; at += 1) {
    const code = text.charCodeAt(at);
    if (code === quote) at = endOfString(text, at) - 1;
    else if (openers.has(code)) {
      depth += 1;
      if (depth === 1) start = at + 1;
    } else if ((text[at] === ',' && depth === 1) || (closers.has(code) && depth === 1)) {
      items.push(text.slice(start, at));
      start = at + 1;
      if (text[at] !== ',') break;
    } else if (closers.has(code)) depth -= 1;
  }
  return items.length === 1 && items[0]!.trim() === '' ? [] : items;
}

/** @returns the index after the closing quote */
function endOfString(text: string, start: number): number {
  let at = start + 1;
  while (text.charCodeAt(at) !== quote) at += text.charCodeAt(at) === backslash ? 2 : 1;
  return at + 1;
}

/** @returns how many bytes the character that must be escaped has, or 0 */
function escapedLength(text: Buffer, at: number): number {
  if (escapedBytes.has(text[at]!)) return 1;
  const isLineSeparator =
    text[at] === 0xe2 && text[at + 1] === 0x80 && (text[at + 2] === 0xa8 || text[at + 2] === 0xa9);
  return isLineSeparator ? 3 : 0;
}

function escapeCharacter(character: string): string {
  return `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`;
}
