import { statfs, writeFile } from 'node:fs/promises';
import { setTimeout as delay } from 'node:timers/promises';
import { CommandError } from '../../../process/command.js';
import { runHostProgram } from '../host-program.js';
import { listMounts, unmountUnlessUsed } from '../mounts.js';
import { hardwareAddress } from './addresses.js';
import type { Attachment } from './attachment.js';
import { GroupCommit } from './group-commit.js';
import { entriesOf, ip, linkNames } from './iproute.js';
import { containerSysctls, type SysctlOptions, type Sysctls } from './sysctls.js';

/** Where iproute2 keeps named namespaces: `ip netns` shows them to operators. */
const directory = '/run/netns';
/** Name of the link in the container. */
export const containerInterface = 'eth0';
/** Magic number of nsfs in `statfs`. */
const namespaceType = 0x6e736673;
const goneAfterNamespaceMs = 400;
const goneAfterDeletionMs = 5_000;
const pollMs = 5;

/** Sets sysctls of the namespace it runs in (pairs of name and value), then becomes `ip`. */
const configureScript =
  'while [ $# -gt 0 ]; do echo "$2" > "/proc/sys/net/ipv4/$1" || exit 1; shift 2; done; exec ip -batch -';
/**
 * Makes network namespaces that belong to somebody else than the host: to the user namespace of the container they are
 * for. The process that it names keeps a new one until it has a file of its own here; undefined: the host may own it.
 */
export interface NamespaceOwner {
  open(name: string): Promise<number | undefined>;
  close(name: string): void;
}

/** Path of the file that a container's process joins. */
export function namespacePath(name: string): string {
  return `${directory}/${name}`;
}

/**
 * Network namespaces with one veth pair each. On a /30 of the pool there is nobody to bridge: the gateway's address
 * sits on the host's end, and a bridge would cost a link more to make and to delete. On a shared subnet the host's end
 * is a port of the subnet's bridge (`bridges.ts`).
 */
export class Namespaces {
  readonly #removals = new GroupCommit<string>((names) => this.#removeNow(names));
  readonly #sysctls: SysctlOptions;

  /**
   * @param owner absent: new namespaces belong to the host
   */
  constructor(
    sysctls: SysctlOptions,
    private readonly owner?: NamespaceOwner,
  ) {
    this.#sysctls = sysctls;
  }

  /** @throws HostRequirementError when iproute2 is missing */
  async check(): Promise<void> {
    await runHostProgram('iproute2', 'ip', ['-Version']);
  }

  /** Makes namespaces, the host's side in one call for all of them. All or nothing. */
  async create(attachments: Attachment[], mtu: number): Promise<void> {
    try {
      const [sysctls, keepers] = await Promise.all([
        containerSysctls(this.#sysctls),
        Promise.all(attachments.map(({ name }) => this.owner?.open(name))),
      ]);
      await ip(
        ['-batch', '-'],
        attachments.flatMap((attachment, index) => hostSide(attachment, mtu, keepers[index])),
      );
      await Promise.all(attachments.map(({ name }) => configureHostLink(name)));
      await Promise.all(attachments.map((attachment) => configureInside(attachment, sysctls)));
    } catch (error) {
      await this.#removeNow(attachments.map(({ name }) => name));
      throw error;
    }
  }

  /** Removes a namespace and its link, or a bridge, whatever of them is there; resolves when all are gone. */
  async remove(name: string): Promise<void> {
    await this.#removals.add(name);
  }

  /** Names of namespaces and links on this host that begin with `prefix`. */
  async list(prefix: string): Promise<string[]> {
    const [names, links] = await Promise.all([entriesOf(directory), linkNames()]);
    return [...new Set([...names, ...links])].filter((name) => name.startsWith(prefix));
  }

  /** Whether namespace, link and bridge are there and whole. */
  async exists({ name, bridge }: Attachment): Promise<boolean> {
    const status = await statfs(namespacePath(name)).catch(() => undefined);
    if (status?.type !== namespaceType) return false;
    const links = await linkNames();
    return links.includes(name) && (bridge === undefined || links.includes(bridge));
  }

  async #removeNow(names: string[]): Promise<void> {
    for (const name of names) this.owner?.close(name);
    await removeNow(names);
  }

  /** Takes away the mount that iproute2 leaves at its directory, when no namespace of anybody is left in it. */
  async removeEmptyDirectory(): Promise<void> {
    if ((await entriesOf(directory)).length > 0) return;
    // Another engine may add one this moment: with the directory detached, its containers would find none.
    if ((await listMounts()).some((mount) => mount.path === directory)) await unmountUnlessUsed(directory);
  }
}

/** Settings of a link on the host that carries, or leads to, containers' addresses. */
export async function configureHostLink(name: string): Promise<void> {
  await Promise.all([
    // Port mappings of 127.0.0.1 leave through this link with a loopback address.
    writeFile(`/proc/sys/net/ipv4/conf/${name}/route_localnet`, '1'),
    // Packets with an address that is not the container's are dropped.
    writeFile(`/proc/sys/net/ipv4/conf/${name}/rp_filter`, '1'),
    // The firewall speaks IPv4 only: by its link-local address the host would be open. Absent without IPv6.
    writeFile(`/proc/sys/net/ipv6/conf/${name}/disable_ipv6`, '1').catch((error: NodeJS.ErrnoException) => {
      if (error.code !== 'ENOENT') throw error;
    }),
  ]);
}

function hostSide(attachment: Attachment, mtu: number, keeper: number | undefined): string[] {
  const { name, hostIp, containerIp, prefixLength, bridge } = attachment;
  const place =
    bridge === undefined
      ? [`addr add ${hostIp}/${prefixLength} dev ${name}`]
      : // Where the host filters bridged packets a container's own mapped port leads back out where it came in.
        [`link set ${name} master ${bridge}`, `link set ${name} type bridge_slave hairpin on`];
  const peer = `mtu ${mtu} address ${hardwareAddress(containerIp)}`;
  return [
    keeper === undefined ? `netns add ${name}` : `netns attach ${name} ${keeper}`,
    `link add ${name} mtu ${mtu} type veth peer name ${containerInterface} ${peer} netns ${name}`,
    ...place,
    `link set ${name} up`,
  ];
}

/** One process that turns from one program into the next: nsenter, sh, ip. */
async function configureInside(attachment: Attachment, sysctls: Sysctls): Promise<void> {
  const { name, hostIp, containerIp, prefixLength } = attachment;
  const commands = [
    `addr add ${containerIp}/${prefixLength} dev ${containerInterface}`,
    'link set lo up',
    `link set ${containerInterface} up`,
    `route add default via ${hostIp}`,
  ];
  const args = [`--net=${namespacePath(name)}`, 'sh', '-c', configureScript, 'sh', ...Object.entries(sysctls).flat()];
  await runHostProgram('util-linux', 'nsenter', args, { input: `${commands.join('\n')}\n` });
}

async function removeNow(names: string[]): Promise<void> {
  // With its last namespace a veth pair goes away, in the background and many at a time. Commands for what is not
  // there fail; what counts is what is left afterwards.
  const files = await entriesOf(directory);
  await attempt(names.map((name) => (files.includes(name) ? `netns delete ${name}` : `link delete ${name}`)));
  let left = await untilGone(names, goneAfterNamespaceMs);
  if (left.length === 0) return;
  // Somebody still holds the namespace: the link can go nevertheless.
  await attempt(left.map((name) => `link delete ${name}`));
  left = await untilGone(left, goneAfterDeletionMs);
  if (left.length > 0) throw new Error(`network namespace or link cannot be removed: ${left.join(', ')}`);
}

async function attempt(commands: string[]): Promise<void> {
  try {
    await ip(['-force', '-batch', '-'], commands);
  } catch (error) {
    if (!(error instanceof CommandError)) throw error;
  }
}

/** Waits for names to vanish from the host; gives those that did not. */
async function untilGone(names: string[], limitMs: number): Promise<string[]> {
  const giveUpAt = Date.now() + limitMs;
  for (;;) {
    const [files, links] = await Promise.all([entriesOf(directory), linkNames()]);
    const left = names.filter((name) => files.includes(name) || links.includes(name));
    if (left.length === 0 || Date.now() >= giveUpAt) return left;
    await delay(pollMs);
  }
}
