import { readFile } from 'node:fs/promises';

const inherited = [
  'net.ipv4.tcp_keepalive_time',
  'net.ipv4.tcp_keepalive_intvl',
  'net.ipv4.tcp_keepalive_probes',
  'net.ipv4.tcp_retries1',
  'net.ipv4.tcp_retries2',
];

/** Without the right to open raw sockets, `ping` needs the one to send echo requests. Root, who has it, comes last in the map. */
export const pingForAll = { 'net.ipv4.ping_group_range': '1 2147483647' };

/**
 * Kernel parameters of the host's network that a new network namespace does not take over by itself, by name; those
 * that this kernel lacks are left out (docs/protocol/containers.md §3.2).
 */
export async function inheritedSysctls(): Promise<Record<string, string>> {
  const values = await Promise.all(
    inherited.map((name) => readFile(`/proc/sys/${name.replaceAll('.', '/')}`, 'utf8').catch(() => '')),
  );
  return Object.fromEntries(
    inherited.map((name, index) => [name, values[index]!.trim()]).filter(([, value]) => value !== ''),
  );
}
