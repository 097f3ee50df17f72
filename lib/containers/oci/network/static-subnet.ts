import { ExhaustedError, InvalidSpecError } from '../../errors.js';
import { type Cidr, formatAddress, formatCidr, overlaps, parseAddress } from './addresses.js';

/** What a container asks for that does not want a subnet of the pool. */
export interface SubnetRequest {
  subnet: Cidr;
  /** Absent: any free one. */
  address?: number;
}

const impliedPrefixLength = 30;
/** Networks that mean something to every host: itself, its loopback, multicast and what is reserved. */
const specialNetworks: [string, Cidr][] = [
  ['the address 0.0.0.0', { base: 0, prefixLength: 8 }],
  ['loopback', { base: 127 * 2 ** 24, prefixLength: 8 }],
  ['multicast or reserved', { base: 224 * 2 ** 24, prefixLength: 3 }],
];

/** Address of the host in a subnet. */
export function gatewayOf({ base }: Cidr): number {
  return base + 1;
}

function broadcastOf({ base, prefixLength }: Cidr): number {
  return base + 2 ** (32 - prefixLength) - 1;
}

/**
 * Parses `a.b.c.d/n` or `a.b.c.d`, a /30 then. The network's own address stands for any free one
 * (docs/protocol/containers.md §3.5).
 *
 * @throws InvalidSpecError
 */
export function parseSubnetRequest(text: string): SubnetRequest {
  const written = text.includes('/') ? text : `${text}/${impliedPrefixLength}`;
  const refusal = () => new InvalidSpecError(`invalid CIDR address: ${written}`);
  const match = /^(\d{1,3}(?:\.\d{1,3}){3})\/(\d{1,2})$/.exec(written);
  const prefixLength = Number(match?.[2]);
  if (!match?.[1] || prefixLength > 32) throw refusal();
  let address: number;
  try {
    address = parseAddress(match[1]);
  } catch {
    throw refusal();
  }
  const base = address - (address % 2 ** (32 - prefixLength));
  const subnet = { base, prefixLength };
  return address === base ? { subnet } : { subnet, address };
}

/**
 * Checks that a subnet may be made.
 *
 * @param existing subnets that other containers, or the host, have
 * @throws InvalidSpecError
 */
export function checkNewSubnet(subnet: Cidr, { pool, existing }: { pool: Cidr; existing: Cidr[] }): void {
  const requested = `the requested subnet (${formatCidr(subnet)})`;
  if (overlaps(subnet, pool)) {
    throw new InvalidSpecError(`${requested} overlaps the dynamic allocation range (${formatCidr(pool)})`);
  }
  const [meaning] = specialNetworks.find(([, special]) => overlaps(subnet, special)) ?? [];
  if (meaning !== undefined) throw new InvalidSpecError(`${requested} is not for containers: ${meaning}`);
  const conflict = existing.find((other) => overlaps(subnet, other));
  if (conflict) throw new InvalidSpecError(`${requested} overlaps an existing subnet (${formatCidr(conflict)})`);
}

/**
 * The address that a request gets.
 *
 * @param isTaken whether a container has an address already
 * @throws InvalidSpecError when it cannot have the one it asks for
 * @throws ExhaustedError when no address is left
 */
export function chooseAddress({ subnet, address }: SubnetRequest, isTaken: (address: number) => boolean): number {
  if (address === gatewayOf(subnet)) throw new InvalidSpecError('a container IP must not equal the gateway IP');
  if (address === broadcastOf(subnet)) throw new InvalidSpecError('a container IP must not equal the broadcast IP');
  if (address !== undefined) {
    if (isTaken(address)) throw new InvalidSpecError('the requested IP is already allocated');
    return address;
  }
  for (let candidate = gatewayOf(subnet) + 1; candidate < broadcastOf(subnet); candidate += 1) {
    if (!isTaken(candidate)) return candidate;
  }
  throw new ExhaustedError('insufficient IPs remaining in the allocated subnet');
}

/** The subnet that an address with a prefix lies in. */
export function subnetOf(address: string, prefixLength: number): Cidr {
  return parseSubnetRequest(`${formatAddress(parseAddress(address))}/${prefixLength}`).subnet;
}
