import { hostNameOf } from './bundle.js';

/** Content of a container's `/etc/hosts` (docs/protocol/containers.md §3.5). */
export function hostsFileContent(handle: string, containerIp: string): string {
  return `127.0.0.1 localhost\n${containerIp} ${hostNameOf(handle)}\n`;
}

/**
 * Content of a container's `/etc/resolv.conf`: the host's, without name servers that only the host can reach. When
 * nothing else is left the container asks the host side of its own network.
 */
export function resolvConfContent(hostContent: string, hostIp: string): string {
  const lines = hostContent.split('\n').map((line) => line.trim());
  const settings = lines.filter((line) => /^(search|domain|options|sortlist)\s/.test(line));
  const nameServers = lines.filter((line) => /^nameserver\s/.test(line));
  const reachable = nameServers.filter((line) => !/^nameserver\s+(127\.|::1\b)/.test(line));
  if (reachable.length === 0 && nameServers.length > 0) reachable.push(`nameserver ${hostIp}`);
  return [...settings, ...reachable, ''].join('\n');
}
