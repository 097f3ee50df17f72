import { isIPv4 } from 'node:net';
import type { NetOutRule } from '../../../engine.js';
import { InvalidSpecError } from '../../../errors.js';

const largestPort = 65_535;
const anyIcmp = '-p icmp -m icmp --icmp-type any';

/**
 * The matches of a NetOut rule for the firewall: networks times ports, each pair one firewall rule
 * (docs/protocol/containers.md §3.5).
 *
 * @throws InvalidSpecError
 */
export function netOutMatches(rule: NetOutRule): string[] {
  const networks = rule.networks?.length ? rule.networks.map(networkMatch) : [''];
  const traffic = trafficMatches(rule);
  return networks.flatMap((network) => traffic.map((match) => [network, match].filter(Boolean).join(' ')));
}

function trafficMatches(rule: NetOutRule): string[] {
  const ports = rule.ports ?? [];
  switch (rule.protocol) {
    case 'tcp':
    case 'udp': {
      const protocol = `-p ${rule.protocol} -m ${rule.protocol}`;
      return ports.length === 0
        ? [`-p ${rule.protocol}`]
        : ports.map((range) => `${protocol} --dport ${portMatch(range)}`);
    }
    case 'icmp':
      if (ports.length > 0) throw new InvalidSpecError('Ports cannot be specified for Protocol ICMP');
      return [icmpMatch(rule.icmp)];
    case 'all':
      if (ports.length > 0) throw new InvalidSpecError('Ports cannot be specified for Protocol ALL');
      return [''];
    default:
      // What a client wrote may be anything, whatever the type says.
      throw new InvalidSpecError(`invalid protocol: ${String(rule.protocol satisfies never)}`);
  }
}

/** Only one end given: that address alone. Ends in the wrong order are accepted, and match nothing. */
function networkMatch({ start, end }: { start: string; end: string }): string {
  const given = [start, end].filter(Boolean);
  for (const address of given) if (!isIPv4(address)) throw new InvalidSpecError(`invalid IP address: ${address}`);
  const [first, last = first] = given;
  if (first === undefined) return '';
  return first === last ? `-d ${first}` : `-m iprange --dst-range ${first}-${last}`;
}

function portMatch({ start, end }: { start: number; end: number }): string {
  for (const port of [start, end]) {
    if (!(Number.isInteger(port) && port >= 0 && port <= largestPort)) {
      throw new InvalidSpecError(`invalid portrange (${port} is not a port)`);
    }
  }
  if (start > end) throw new InvalidSpecError('invalid portrange (min > max)');
  return start === end ? String(start) : `${start}:${end}`;
}

function icmpMatch(icmp: NetOutRule['icmp']): string {
  if (!icmp || icmp.type === -1 || icmp.type === 255) return anyIcmp;
  const isByte = (value: number) => Number.isInteger(value) && value >= 0 && value <= 255;
  const { type, code = -1 } = icmp;
  if (!isByte(type) || (code !== -1 && !isByte(code))) throw new InvalidSpecError(`invalid ICMP type ${type}/${code}`);
  return `-p icmp -m icmp --icmp-type ${type}${code === -1 ? '' : `/${code}`}`;
}
