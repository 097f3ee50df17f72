import { isIPv4 } from 'node:net';
import type { NetOutProtocol, NetOutRule } from '../containers/engine.js';
import type { EgressRule } from './messages.js';

/** An egress rule cannot be carried out; the start or staging fails with this text. */
export class InvalidEgressRuleError extends Error {}

const protocols: readonly string[] = ['tcp', 'udp', 'icmp', 'all'] satisfies NetOutProtocol[];

/**
 * The engine's rules for a message's egress rules, one per port or range of ports, in order: those without `log`
 * first, exact duplicates dropped (docs/protocol/dea.md §23.4). Newer rules win in the engine, so a connection that
 * both kinds allow is logged.
 * @throws InvalidEgressRuleError
 */
export function netOutRules(rules: EgressRule[]): NetOutRule[] {
  const sorted = [...rules.filter((rule) => !rule.log), ...rules.filter((rule) => rule.log)];
  const distinct = new Map(sorted.flatMap(rulesOf).map((rule) => [JSON.stringify(rule), rule]));
  return [...distinct.values()];
}

function rulesOf(rule: EgressRule): NetOutRule[] {
  const protocol = parseProtocol(rule.protocol);
  const common: NetOutRule = { protocol, networks: [parseNetwork(rule.destination)] };
  const log = rule.log ? { log: true } : {};
  if (protocol === 'icmp' && rule.type != null) {
    return [{ ...common, icmp: { type: rule.type, ...(rule.code != null && { code: rule.code }) }, ...log }];
  }
  if ((protocol === 'tcp' || protocol === 'udp') && rule.ports != null) {
    return parsePorts(rule.ports).map((range) => ({ ...common, ports: [range], ...log }));
  }
  return [{ ...common, ...log }];
}

function parseProtocol(protocol: unknown): NetOutProtocol {
  if (typeof protocol === 'string' && protocols.includes(protocol)) return protocol as NetOutProtocol;
  const shown = typeof protocol === 'object' && protocol !== null ? JSON.stringify(protocol) : String(protocol ?? '');
  throw new InvalidEgressRuleError(`Invalid protocol in egress rule: ${shown}`);
}

/** Comma-separated ports and `first-last` ranges, spaces tolerated. */
function parsePorts(ports: string): { start: number; end: number }[] {
  return ports.split(',').map((entry) => {
    const match = /^\s*(\d{1,5})\s*(?:-\s*(\d{1,5})\s*)?$/.exec(entry);
    const start = Number(match?.[1]);
    const end = Number(match?.[2] ?? match?.[1]);
    if (!match || start > 65535 || end > 65535 || start > end) {
      throw new InvalidEgressRuleError(`Invalid ports in egress rule: ${JSON.stringify(ports)}`);
    }
    return { start, end };
  });
}

/** An address, a network `a.b.c.d/n` or a range `a.b.c.d-e.f.g.h` as first and last address. */
function parseNetwork(destination: unknown): { start: string; end: string } {
  const text = typeof destination === 'string' ? destination.trim() : '';
  const [first = '', last] = text.split('-').map((part) => part.trim());
  if (last !== undefined) {
    if (isIPv4(first) && isIPv4(last)) return { start: first, end: last };
  } else {
    const [address = '', prefix] = first.split('/');
    if (isIPv4(address) && prefix === undefined) return { start: address, end: address };
    if (isIPv4(address) && /^\d{1,2}$/.test(prefix ?? '') && Number(prefix) <= 32) {
      return networkRange(address, Number(prefix));
    }
  }
  throw new InvalidEgressRuleError(`Invalid destination in egress rule: ${JSON.stringify(destination ?? null)}`);
}

function networkRange(address: string, prefix: number): { start: string; end: string } {
  const size = 2 ** (32 - prefix);
  const number = address.split('.').reduce((sum, part) => sum * 256 + Number(part), 0);
  const start = Math.floor(number / size) * size;
  return { start: formatAddress(start), end: formatAddress(start + size - 1) };
}

function formatAddress(number: number): string {
  return [24, 16, 8, 0].map((shift) => Math.floor(number / 2 ** shift) % 256).join('.');
}
