import { isIPv4 } from 'node:net';
import { InvalidSpecError } from '../../errors.js';

/** An IPv4 network; addresses are unsigned 32 bit numbers. */
export interface Cidr {
  base: number;
  prefixLength: number;
}

/** @throws InvalidSpecError when the text is no dotted IPv4 address */
export function parseAddress(text: string): number {
  if (!isIPv4(text)) throw new InvalidSpecError(`invalid IP address: ${text}`);
  return text.split('.').reduce((number, part) => number * 256 + Number(part), 0);
}

export function formatAddress(address: number): string {
  return [24, 16, 8, 0].map((shift) => Math.floor(address / 2 ** shift) % 256).join('.');
}

/**
 * `a.b.c.d/n`; bits behind the prefix are cut off.
 *
 * @throws InvalidSpecError
 */
export function parseCidr(text: string): Cidr {
  const match = /^([^/]+)\/(\d{1,2})$/.exec(text);
  const prefixLength = Number(match?.[2]);
  if (!match?.[1] || prefixLength > 32) throw new InvalidSpecError(`invalid network: ${text}`);
  const address = parseAddress(match[1]);
  return { base: address - (address % 2 ** (32 - prefixLength)), prefixLength };
}

export function formatCidr({ base, prefixLength }: Cidr): string {
  return `${formatAddress(base)}/${prefixLength}`;
}

/** Whether two networks share an address. */
export function overlaps(one: Cidr, other: Cidr): boolean {
  const size = 2 ** (32 - Math.min(one.prefixLength, other.prefixLength));
  return Math.floor(one.base / size) === Math.floor(other.base / size);
}

/**
 * The hardware address that goes with an IPv4 address: locally administered, and the same each time. Who follows on an
 * address of a shared subnet is found at once by those who remember the one before.
 */
export function hardwareAddress(address: string): string {
  const bytes = [2, 0, ...address.split('.').map(Number)];
  return bytes.map((byte) => byte.toString(16).padStart(2, '0')).join(':');
}
