import type { PortRange, SecurityGroupRule } from '../messages/models.js';
import { type Findings, invalidField, when } from './findings.js';
import { isNetwork, parseAddress } from './ip-address.js';

const highestPort = 65_535;

/** docs/protocol/bbs.md §4.5, SecurityGroupRule */
export function egressRuleFindings(rule: SecurityGroupRule): Findings {
  return [...protocolFindings(rule), ...destinationFindings(rule.destinations)];
}

function protocolFindings(rule: SecurityGroupRule): Findings {
  switch (rule.protocol) {
    case 'tcp':
    case 'udp':
      return [...portFindings(rule), ...when(rule.icmpInfo !== undefined, 'icmp_info')];
    case 'icmp':
      return [...foreignPortFindings(rule), ...when(rule.icmpInfo === undefined, 'icmp_info')];
    case 'icmpv6':
      return [...foreignPortFindings(rule), ...when(rule.icmpInfo === undefined, 'icmpv6_info')];
    case 'all':
      return [...foreignPortFindings(rule), ...when(rule.icmpInfo !== undefined, 'icmp_info')];
    default:
      return when(true, 'protocol');
  }
}

function portFindings({ ports, portRange }: SecurityGroupRule): Findings {
  if (!portRange && ports.length === 0) return ['Missing required field: ports or port_range'];
  if (portRange && ports.length > 0) return ['Invalid: ports and port_range provided'];
  return [
    ...when(portRange !== undefined && !isRange(portRange), 'port_range'),
    ...when(!ports.every(isPort), 'ports'),
  ];
}

function foreignPortFindings({ ports, portRange }: SecurityGroupRule): Findings {
  return [...when(portRange !== undefined, 'port_range'), ...when(ports.length > 0, 'ports')];
}

function isRange({ start, end }: PortRange): boolean {
  return isPort(start) && isPort(end) && start <= end;
}

function isPort(port: number): boolean {
  return port >= 1 && port <= highestPort;
}

function destinationFindings(destinations: readonly string[]): Findings {
  const faults =
    destinations.length === 0
      ? ['Must have at least 1 destination']
      : destinations.flatMap((destination) => destination.split(',')).flatMap(destinationFaults);
  return faults.length === 0 ? [] : [invalidField(`destinations [ ${faults.join(', ')} ]`)];
}

function destinationFaults(destination: string): string[] {
  const separator = /[-/]/.exec(destination)?.[0];
  if (separator === '/') return isNetwork(destination) ? [] : [`invalid CIDR address: ${destination}`];
  const isFine = separator === '-' ? isAddressRange(destination) : parseAddress(destination) !== undefined;
  return isFine ? [] : ['Invalid IP'];
}

function isAddressRange(text: string): boolean {
  const at = text.indexOf('-');
  const first = parseAddress(text.slice(0, at));
  const last = parseAddress(text.slice(at + 1));
  return first !== undefined && last !== undefined && first <= last;
}
