import { isIP, isIPv4 } from 'node:net';
import { InvalidSpecError } from '../../errors.js';
import { hostNameOf } from './bundle.js';

/** What an operator adds to, or sets in place of, the host's own settings of names. */
export interface NameSettings {
  /** Name servers of all containers, instead of the host's. */
  dnsServers: string[];
  /** Name servers that are asked after the others. */
  additionalDnsServers: string[];
  /** Lines of `/etc/hosts`: `10.0.0.9 name`. */
  additionalHostEntries: string[];
}

/** Nothing set. */
export const hostNameSettings: NameSettings = { dnsServers: [], additionalDnsServers: [], additionalHostEntries: [] };

/** @throws InvalidSpecError naming the setting and its wrong value */
export function checkNameSettings(settings: NameSettings): void {
  for (const name of ['dnsServers', 'additionalDnsServers'] as const) {
    for (const address of settings[name]) {
      if (!isIPv4(address)) throw new InvalidSpecError(`${name}: invalid IP address: ${address}`);
    }
  }
  for (const entry of settings.additionalHostEntries) {
    if (isHostEntry(entry)) continue;
    throw new InvalidSpecError(`additionalHostEntries: ${JSON.stringify(entry)} is not an address and its names`);
  }
}

/** Whether a text is a line for `/etc/hosts`: an address and at least one name. */
export function isHostEntry(text: string): boolean {
  const [address = '', ...names] = text.split(/[ \t]+/);
  return isIP(address) > 0 && names.length > 0 && /^[^\r\n]+$/.test(text);
}

/** Content of a container's `/etc/hosts` (docs/protocol/containers.md §3.5). */
export function hostsFileContent(
  handle: string,
  containerIp: string,
  { additionalHostEntries }: NameSettings = hostNameSettings,
): string {
  const lines = ['127.0.0.1 localhost', `${containerIp} ${hostNameOf(handle)}`, ...additionalHostEntries];
  return lines.map((line) => `${line}\n`).join('');
}

/**
 * Content of a container's `/etc/resolv.conf`: the operator's name servers, else the host's settings without name
 * servers that only the host can reach. When nothing else is left the container asks the host side of its own network
 * (docs/protocol/containers.md §3.5).
 */
export function resolvConfContent(
  hostContent: string,
  hostIp: string,
  { dnsServers, additionalDnsServers }: NameSettings = hostNameSettings,
): string {
  const lines = dnsServers.length > 0 ? dnsServers.map(nameServer) : linesFromHost(hostContent, hostIp);
  return [...lines, ...additionalDnsServers.map(nameServer), ''].join('\n');
}

function linesFromHost(hostContent: string, hostIp: string): string[] {
  const lines = hostContent.split('\n').map((line) => line.trim());
  const settings = lines.filter((line) => /^(search|domain|options|sortlist)\s/.test(line));
  const nameServers = lines.filter((line) => /^nameserver\s/.test(line));
  const reachable = nameServers.filter((line) => !/^nameserver\s+(127\.|::1\b)/.test(line));
  if (reachable.length === 0 && nameServers.length > 0) reachable.push(nameServer(hostIp));
  return [...settings, ...reachable];
}

function nameServer(address: string): string {
  return `nameserver ${address}`;
}
