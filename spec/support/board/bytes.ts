/** Messages put together by hand, from field numbers and wire types as documents have them: no encoder's doing. */

/** @param pairs of hexadecimal digits, as docs/protocol/bbs-messages.md prints bytes */
export function hex(pairs: string): Buffer {
  return Buffer.from(pairs.replaceAll(/\s/g, ''), 'hex');
}

/** Bytes as documents print them. */
export function inHex(bytes: Buffer): string {
  return bytes.toString('hex').replaceAll(/(..)(?=.)/g, '$1 ');
}

/** One field: numbers and truths as varints, text and bytes with their length. A message is bytes. */
export function field(number: number, value: string | number | bigint | boolean | Buffer): Buffer {
  if (typeof value === 'string') return field(number, Buffer.from(value));
  if (!Buffer.isBuffer(value)) return Buffer.concat([varint(number * 8), varint(BigInt(value))]);
  return Buffer.concat([varint(number * 8 + 2), varint(value.length), value]);
}

/** A field that holds a message of these fields. */
export function nested(number: number, ...fields: Buffer[]): Buffer {
  return field(number, Buffer.concat(fields));
}

/** Negative ones have ten bytes. */
function varint(value: number | bigint): Buffer {
  const bytes: number[] = [];
  let rest = BigInt.asUintN(64, BigInt(value));
  for (; rest >= 0x80n; rest >>= 7n) bytes.push(Number(rest & 0x7fn) | 0x80);
  return Buffer.from([...bytes, Number(rest)]);
}
