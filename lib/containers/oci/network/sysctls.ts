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

/** Without the right to open raw sockets, `ping` needs the one to send echo requests. Root's group comes last in the map. */
const pingForAll: Sysctls = { ping_group_range: '1 2147483647' };

export interface SysctlOptions {
  /** What is not taken from the host. */
  given: TcpSettings;
  /** Programs cannot gain the capability that `ping` has elsewhere. */
  noNewPrivileges: boolean;
}

/** What a container's namespace is set to (docs/protocol/containers.md §3.2, §4.4). */
export async function containerSysctls({ given, noNewPrivileges }: SysctlOptions): Promise<Sysctls> {
  const values = await Promise.all(
    takenOver.map(async (name) => [name, (await readFile(`${directory}/${name}`, 'utf8')).trim()] as const),
  );
  const asText = Object.entries(given).map(([name, value]) => [name, String(value)]);
  return { ...Object.fromEntries([...values, ...asText]), ...(noNewPrivileges && pingForAll) };
}
