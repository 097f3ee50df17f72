import { isIPv4 } from 'node:net';
import type { NetOutRule } from '../../engine.js';
import { WardenError } from '../errors.js';
import type { Request } from '../protocol/messages.js';

const largestPort = 65_535;
const largestIcmpNumber = 255;

/**
 * The engine's rule for a NetOut request (docs/protocol/containers.md §1.6).
 *
 * @throws WardenError naming what is wrong
 */
export function readNetOut(request: Omit<Request<'NetOut'>, 'handle'>): NetOutRule {
  const { network = '', port, portRange = '' } = request;
  // A client that has no way to leave a number out says 0.
  const hasPort = port !== undefined && port !== 0;
  if (network === '' && portRange === '' && !hasPort) {
    throw new WardenError('Please specify network, port, and/or port_range.');
  }
  const protocol = protocols[request.protocol];
  const ports = portRange === '' ? (hasPort ? { start: port, end: port } : undefined) : readPortRange(portRange);
  if (ports && ports.end > largestPort) throw new WardenError(`port: ${ports.end} is no port`);
  if (ports && protocol !== 'tcp' && protocol !== 'udp') {
    throw new WardenError(`Ports cannot be specified for protocol ${protocol}`);
  }
  return {
    protocol,
    ...(network !== '' && { networks: [readNetwork(network)] }),
    ...(ports && { ports: [ports] }),
    ...(protocol === 'icmp' && { icmp: readIcmp(request) }),
    ...(request.log && { log: true }),
  };
}

/**
 * `a.b.c.d`, `a.b.c.d/n` or `a.b.c.d-e.f.g.h` as an inclusive range.
 *
 * @throws WardenError
 */
export function readNetwork(text: string): { start: string; end: string } {
  const [start = '', end] = text.split('-', 2);
  if (end !== undefined) {
    const isRange = isIPv4(start) && isIPv4(end) && toNumber(start) <= toNumber(end);
    if (!isRange) throw invalidNetwork(text);
    return { start, end };
  }
  const [address = '', prefixText = '32'] = text.split('/', 2);
  const prefix = Number(prefixText);
  if (!isIPv4(address) || !/^\d{1,2}$/.test(prefixText) || prefix > 32) throw invalidNetwork(text);
  const size = 2 ** (32 - prefix);
  const base = Math.floor(toNumber(address) / size) * size;
  return { start: toAddress(base), end: toAddress(base + size - 1) };
}

const protocols = { TCP: 'tcp', UDP: 'udp', ICMP: 'icmp', ALL: 'all' } as const;

function readPortRange(text: string): { start: number; end: number } {
  const match = /^(\d{1,5}):(\d{1,5})$/.exec(text);
  if (!match) throw new WardenError(`port_range: ${JSON.stringify(text)} is not of the form a:b`);
  const [start, end] = [Number(match[1]), Number(match[2])];
  if (start >= end) throw new WardenError('Port range maximum must be greater than minimum');
  return { start, end };
}

/** -1 stands for any. */
function readIcmp({ icmpType = -1, icmpCode = -1 }: Pick<Request<'NetOut'>, 'icmpType' | 'icmpCode'>): {
  type: number;
  code: number;
} {
  for (const [name, value] of Object.entries({ icmp_type: icmpType, icmp_code: icmpCode })) {
    if (value < -1 || value > largestIcmpNumber) throw new WardenError(`${name}: ${value} is not within -1 to 255`);
  }
  return { type: icmpType, code: icmpCode };
}

function toNumber(address: string): number {
  return address.split('.').reduce((number, part) => number * 256 + Number(part), 0);
}

function toAddress(number: number): string {
  return [24, 16, 8, 0].map((shift) => Math.floor(number / 2 ** shift) % 256).join('.');
}

function invalidNetwork(text: string): WardenError {
  return new WardenError(`network: ${JSON.stringify(text)} is no address, CIDR or range of addresses`);
}
