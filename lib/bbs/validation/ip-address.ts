import { isIPv4, isIPv6 } from 'node:net';

/**
 * An address as a number of 128 bits, that of version 4 as IPv6 maps it, so that both compare with each other.
 *
 * @returns undefined for what is no address; one with a zone is none either
 */
export function parseAddress(text: string): bigint | undefined {
  if (isIPv4(text)) return 0xffff_0000_0000n + parseVersion4(text);
  if (!isIPv6(text) || text.includes('%')) return undefined;
  const [head = '', tail] = withoutVersion4Tail(text).split('::');
  const left = groupsOf(head);
  const right = groupsOf(tail ?? '');
  const zeros = tail === undefined ? 0 : 8 - left.length - right.length;
  const groups = [...left, ...Array<bigint>(zeros).fill(0n), ...right];
  return groups.reduce((sum, group) => (sum << 16n) + group, 0n);
}

/** Whether it is an address and the length of a prefix, `10.0.0.0/8`. */
export function isNetwork(text: string): boolean {
  const match = /^([^/]+)\/(\d{1,3})$/.exec(text);
  if (!match || parseAddress(match[1]!) === undefined) return false;
  return Number(match[2]) <= (isIPv4(match[1]!) ? 32 : 128);
}

function parseVersion4(text: string): bigint {
  return text.split('.').reduce((sum, part) => (sum << 8n) + BigInt(part), 0n);
}

/** `::ffff:10.0.0.1` has its last two groups in another form. */
function withoutVersion4Tail(text: string): string {
  const colon = text.lastIndexOf(':');
  const tail = text.slice(colon + 1);
  if (!tail.includes('.')) return text;
  const value = parseVersion4(tail);
  return `${text.slice(0, colon + 1)}${(value >> 16n).toString(16)}:${(value & 0xffffn).toString(16)}`;
}

function groupsOf(text: string): bigint[] {
  return text === '' ? [] : text.split(':').map((group) => BigInt(`0x${group}`));
}
