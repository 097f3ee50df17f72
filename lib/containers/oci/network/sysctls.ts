import { readFile } from 'node:fs/promises';

/** Settings of a network namespace, by name below `net.ipv4`. */
export type Sysctls = Record<string, string>;

const directory = '/proc/sys/net/ipv4';

/** A new namespace begins with the kernel's defaults: what an operator has tuned on the host shall hold inside, too. */
const takenOver = [
  'tcp_keepalive_time',
  'tcp_keepalive_intvl',
  'tcp_keepalive_probes',
  'tcp_retries1',
  'tcp_retries2',
] as const;

/** TCP's patience, for an engine that does not take it from the host. */
export type TcpSettings = Partial<Record<(typeof takenOver)[number], number>>;

/**
 * The namespaces belong to the host's user namespace, so that nobody in a user namespace of his own has a capability in
 * them: what needs NET_BIND_SERVICE and NET_RAW elsewhere is open to all here.
 */
const opened: Sysctls = {
  ping_group_range: '0 2147483647',
  ip_unprivileged_port_start: '0',
};

/**
 * What a container's namespace is set to (docs/protocol/containers.md §3.2, §4.4).
 *
 * @param given what is not taken from the host
 */
export async function containerSysctls(given: TcpSettings): Promise<Sysctls> {
  const values = await Promise.all(
    takenOver.map(async (name) => [name, (await readFile(`${directory}/${name}`, 'utf8')).trim()] as const),
  );
  const asText = Object.entries(given).map(([name, value]) => [name, String(value)]);
  return { ...Object.fromEntries([...values, ...asText]), ...opened };
}
