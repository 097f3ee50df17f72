import { readdir, statfs, writeFile } from 'node:fs/promises';
import { setTimeout as delay } from 'node:timers/promises';
import { CommandError } from '../../../process/command.js';
import { runHostProgram } from '../host-program.js';
import { listMounts, unmount } from '../mounts.js';
import { GroupCommit } from './group-commit.js';
import { type Subnet, subnetPrefixLength } from './subnet-pool.js';

/** A network namespace to make; its name is also that of the link on the host. */
export interface NamespaceSpec {
  name: string;
  subnet: Subnet;
  mtu: number;
}

/** Where iproute2 keeps named namespaces: `ip netns` shows them to operators. */
const directory = '/run/netns';
/** Name of the link in the container. */
const containerInterface = 'eth0';
/** Magic number of nsfs in `statfs`. */
const namespaceType = 0x6e736673;
const goneAfterNamespaceMs = 400;
const goneAfterDeletionMs = 5_000;
const pollMs = 5;

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
 * Network namespaces with one veth pair each. A pair of its own per container, without upstream's bridge: on a /30
 * there is nobody to bridge, the gateway's address sits on the host's end, and a bridge would cost a link more to make
 * and to delete. What a bridge gives, several containers on one subnet, this engine does not offer.
 */
export class Namespaces {
  readonly #removals = new GroupCommit<string>((names) => this.#removeNow(names));

  /** @param owner absent: new namespaces belong to the host */
  constructor(private readonly owner?: NamespaceOwner) {}

  /** @throws HostRequirementError when iproute2 is missing */
  async check(): Promise<void> {
    await runHostProgram('iproute2', 'ip', ['-Version']);
  }

  /** Makes namespaces, the host's side in one call for all of them. All or nothing. */
  async create(specs: NamespaceSpec[]): Promise<void> {
    try {
      const keepers = await Promise.all(specs.map(({ name }) => this.owner?.open(name)));
      await ip(
        ['-batch', '-'],
        specs.flatMap((spec, index) => hostSide(spec, keepers[index])),
      );
      await Promise.all(specs.map(configureHostLink));
      await Promise.all(specs.map((spec) => ip(['-n', spec.name, '-batch', '-'], containerSide(spec))));
    } catch (error) {
      await this.#removeNow(specs.map((spec) => spec.name));
      throw error;
    }
  }

  /** Removes a namespace and its link, whatever of them is there; resolves when both are gone. */
  async remove(name: string): Promise<void> {
    await this.#removals.add(name);
  }

  /** Names of namespaces and links on this host that begin with `prefix`. */
  async list(prefix: string): Promise<string[]> {
    const [names, links] = await Promise.all([entries(directory), entries('/sys/class/net')]);
    return [...new Set([...names, ...links])].filter((name) => name.startsWith(prefix));
  }

  /** Whether namespace and link are there and whole. */
  async exists(name: string): Promise<boolean> {
    const status = await statfs(namespacePath(name)).catch(() => undefined);
    return status?.type === namespaceType && (await entries('/sys/class/net')).includes(name);
  }

  /** Shapes the traffic in both directions; only the host can change either, a container lacks NET_ADMIN. */
  async limitBandwidth(name: string, { rate, burst }: { rate: number; burst: number }): Promise<void> {
    // Less than a packet would stop all traffic.
    const bucket = Math.max(Math.ceil(burst), 2 * 1514);
    const shape = ['root', 'tbf', 'rate', `${Math.ceil(rate)}bps`, 'burst', `${bucket}b`, 'latency', '50ms'];
    await Promise.all([
      runHostProgram('iproute2', 'tc', ['qdisc', 'replace', 'dev', name, ...shape]),
      runHostProgram('iproute2', 'tc', ['-n', name, 'qdisc', 'replace', 'dev', containerInterface, ...shape]),
    ]);
  }

  async #removeNow(names: string[]): Promise<void> {
    for (const name of names) this.owner?.close(name);
    await removeNow(names);
  }

  /** Takes away the mount that iproute2 leaves at its directory, when no namespace of anybody is left in it. */
  async removeEmptyDirectory(): Promise<void> {
    if ((await entries(directory)).length > 0) return;
    if ((await listMounts()).some((mount) => mount.path === directory)) await unmount([directory]);
  }
}

function hostSide({ name, subnet, mtu }: NamespaceSpec, keeper: number | undefined): string[] {
  return [
    keeper === undefined ? `netns add ${name}` : `netns attach ${name} ${keeper}`,
    `link add ${name} mtu ${mtu} type veth peer name ${containerInterface} mtu ${mtu} netns ${name}`,
    `addr add ${subnet.hostIp}/${subnetPrefixLength} dev ${name}`,
    `link set ${name} up`,
  ];
}

function containerSide({ subnet }: NamespaceSpec): string[] {
  return [
    `addr add ${subnet.containerIp}/${subnetPrefixLength} dev ${containerInterface}`,
    'link set lo up',
    `link set ${containerInterface} up`,
    `route add default via ${subnet.hostIp}`,
  ];
}

async function configureHostLink({ name }: NamespaceSpec): Promise<void> {
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

async function removeNow(names: string[]): Promise<void> {
  // With its last namespace a veth pair goes away, in the background and many at a time. Commands for what is not
  // there fail; what counts is what is left afterwards.
  await attempt(names.map((name) => `netns delete ${name}`));
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
    const [files, links] = await Promise.all([entries(directory), entries('/sys/class/net')]);
    const left = names.filter((name) => files.includes(name) || links.includes(name));
    if (left.length === 0 || Date.now() >= giveUpAt) return left;
    await delay(pollMs);
  }
}

async function entries(path: string): Promise<string[]> {
  return readdir(path).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return [];
    throw error;
  });
}

async function ip(args: string[], commands: string[]): Promise<void> {
  await runHostProgram('iproute2', 'ip', args, { input: `${commands.join('\n')}\n` });
}
