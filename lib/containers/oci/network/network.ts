import { readFile } from 'node:fs/promises';
import { errorData, type Logger } from '../../../logging/logger.js';
import type { Launcher } from '../../../process/launcher.js';
import type { NetOutRule, PortMapping } from '../../engine.js';
import { InvalidSpecError } from '../../errors.js';
import type { Network, NetworkLease, NetworkRequest } from '../ports.js';
import type { StartActivity } from '../start-activity.js';
import { formatCidr, parseAddress, parseCidr } from './addresses.js';
import { type Attachment, attachmentOf } from './attachment.js';
import { shapeTraffic } from './bandwidth.js';
import { Firewall } from './firewall/firewall.js';
import {
  commonRules,
  containerRules,
  type FirewallContainer,
  type FirewallPolicy,
  interfacePrefix,
  mapPorts,
  mergeChanges,
  netOutRules,
  removeAllRules,
  removeContainerRules,
  resetRules,
} from './firewall/rules.js';
import { addressOf, defaultInterface, enableForwarding, interfaceWith, mtuOf, type Route, readRoutes } from './host.js';
import { HostPorts } from './host-ports.js';
import { type NamespaceOwner, Namespaces, namespacePath } from './namespaces.js';
import { PoolNetworks } from './pool-networks.js';
import { StaticNetworks } from './static-networks.js';
import type { TcpSettings } from './sysctls.js';

export interface NetworkOptions {
  /** Starts the firewall's program; absent: this process does. */
  launcher?: Launcher;
  /** Marks links, namespaces and chains: several engines live on one host. One to four lower-case hexadecimal digits. */
  tag: string;
  /** CIDR of the containers' addresses, a /30 each. @default '10.254.0.0/22' */
  pool?: string;
  /** Host ports for mappings that ask for none in particular. @default { start: 61001, size: 4534 } */
  ports?: { start: number; size: number };
  /** File that remembers which host port comes next; its directory is created. */
  portStateFile: string;
  /** Networks (CIDR) that containers reach only by a NetOut rule. @default none */
  denyNetworks?: string[];
  /** Networks (CIDR) that containers reach although they are among the denied ones. @default none */
  allowNetworks?: string[];
  /** Containers may connect to the host itself. @default false */
  allowHostAccess?: boolean;
  /** Name servers on the host that containers may ask all the same. @default none */
  dnsServers?: string[];
  /** Address that is told as the one mapped ports answer on. @default the address of the default route's interface */
  externalIp?: string;
  /** @default the MTU of the interface that has the external address, at most 1500 */
  mtu?: number;
  /** @default what the host has */
  tcp?: TcpSettings;
  /** As of the engine. @default false */
  noNewPrivileges?: boolean;
  /** Makes the namespaces. @default the host */
  namespaceOwner?: NamespaceOwner;
  /** Spare namespaces. 0: none. @default 4 */
  spares?: number;
  /** Stocks are filled when nothing is being started. */
  activity?: StartActivity;
  /** How long a released subnet rests, milliseconds. @default 5000 */
  subnetRestMs?: number;
  logger: Logger;
}

const defaultPool = '10.254.0.0/22';
const defaultPorts = { start: 61001, size: 4534 };
const defaultSpares = 4;
const defaultSubnetRestMs = 5_000;
const largestMtu = 1500;
/** Less, and a link carries no IPv4. */
const smallestAllowedMtu = 68;
const largestAllowedMtu = 65_535;

/** Networks of containers: a namespace, a veth pair and an address each, firewall rules in one call. */
export function createNetwork(options: NetworkOptions): Network {
  return new VethNetwork(options);
}

class VethNetwork implements Network {
  readonly #options: NetworkOptions;
  readonly #logger: Logger;
  readonly #policy: FirewallPolicy;
  readonly #firewall: Firewall;
  readonly #namespaces: Namespaces;
  readonly #pool: PoolNetworks;
  readonly #statics: StaticNetworks;
  readonly #ports: HostPorts;
  /** Containers by the id of their attachment: what the firewall must hold. */
  readonly #containers = new Map<string, FirewallContainer>();
  /** Removals of released networks that are under way. */
  readonly #removals = new Set<Promise<void>>();

  constructor(options: NetworkOptions) {
    checkOptions(options);
    this.#options = options;
    this.#firewall = new Firewall(options.launcher);
    this.#logger = options.logger;
    this.#namespaces = new Namespaces(
      { given: options.tcp ?? {}, noNewPrivileges: options.noNewPrivileges ?? false },
      options.namespaceOwner,
    );
    const { tag, logger } = options;
    const pool = parseCidr(options.pool ?? defaultPool);
    this.#policy = {
      tag,
      pool: formatCidr(pool),
      denyNetworks: (options.denyNetworks ?? []).map(normalCidr),
      allowNetworks: (options.allowNetworks ?? []).map(normalCidr),
      allowHostAccess: options.allowHostAccess ?? false,
      dnsServers: options.dnsServers ?? [],
    };
    const common = { tag, pool, namespaces: this.#namespaces, mtu: (routes: Route[]) => this.#mtu(routes), logger };
    this.#pool = new PoolNetworks({
      ...common,
      restMs: options.subnetRestMs ?? defaultSubnetRestMs,
      spares: options.spares ?? defaultSpares,
      ...(options.activity && { activity: options.activity }),
      removals: this.#removals,
    });
    this.#statics = new StaticNetworks({
      ...common,
      firewall: this.#firewall,
      resetRules: () => this.#resetRules(),
    });
    const ports = options.ports ?? defaultPorts;
    this.#ports = new HostPorts({ ...ports, stateFile: options.portStateFile, logger });
  }

  async start(): Promise<void> {
    await this.#ports.start();
    await this.#pool.start();
    await this.#namespaces.check();
    await enableForwarding();
    await this.#firewall.rewrite((saved) => commonRules(this.#policy, saved));
  }

  async stop(): Promise<void> {
    await this.#pool.stop();
    await Promise.all(this.#removals);
    await this.#ports.stop();
  }

  async teardown(): Promise<void> {
    await this.stop();
    await this.#removeStrays(new Set());
    await this.#firewall.rewrite((saved) => removeAllRules(this.#options.tag, saved));
    await this.#namespaces.removeEmptyDirectory();
  }

  async create(request: NetworkRequest): Promise<NetworkLease> {
    const attachment = await (request.network ? this.#statics.obtain(request.network) : this.#pool.obtain());
    const container: FirewallContainer = {
      ...firewallSource(attachment),
      handle: request.handle,
      mappedPorts: [],
      netOut: request.netOut,
    };
    try {
      for (const netIn of request.netIn) container.mappedPorts.push(await this.#ports.choose(netIn));
      await this.#firewall.apply(containerRules(this.#policy, container), () =>
        this.#containers.set(attachment.id, container),
      );
    } catch (error) {
      await this.#releasePorts(container);
      await this.#discard(attachment);
      throw error;
    }
    const { name, bridge, ...addresses } = attachment;
    return {
      namespacePath: namespacePath(name),
      containerIp: addresses.containerIp,
      hostIp: addresses.hostIp,
      externalIp: await this.#externalIp(),
      prefixLength: addresses.prefixLength,
      hostInterface: name,
      mappedPorts: container.mappedPorts,
      netOut: container.netOut,
      handle: request.handle,
      ...(bridge !== undefined && { bridge }),
    };
  }

  async adopt(lease: NetworkLease): Promise<boolean> {
    const attachment = attachmentOf(lease);
    if (!(await this.#namespaces.exists(attachment))) return false;
    this.#kind(attachment).claim(attachment);
    const container = containerOf(lease);
    this.#containers.set(attachment.id, container);
    for (const { hostPort } of container.mappedPorts) await this.#ports.claim(hostPort);
    return true;
  }

  async open(lease: NetworkLease, { netIn, netOut }: Pick<NetworkRequest, 'netIn' | 'netOut'>): Promise<NetworkLease> {
    const container = this.#current(lease);
    const { tag } = this.#policy;
    const mappings: PortMapping[] = [];
    try {
      for (const request of netIn) mappings.push(await this.#ports.choose(request));
      const change = mergeChanges([mapPorts(tag, container, mappings), netOutRules(tag, container, netOut)]);
      await this.#firewall.apply(change, () => {
        container.mappedPorts = [...container.mappedPorts, ...mappings];
        container.netOut = [...container.netOut, ...netOut];
      });
    } catch (error) {
      await this.#releasePorts({ mappedPorts: mappings });
      throw error;
    }
    return { ...lease, mappedPorts: container.mappedPorts, netOut: container.netOut };
  }

  netIn(lease: NetworkLease, request: NetworkRequest['netIn'][number]): Promise<NetworkLease> {
    return this.open(lease, { netIn: [request], netOut: [] });
  }

  netOut(lease: NetworkLease, rules: NetOutRule[]): Promise<NetworkLease> {
    return this.open(lease, { netIn: [], netOut: rules });
  }

  async release(lease: NetworkLease): Promise<void> {
    const attachment = attachmentOf(lease);
    const container = this.#containers.get(attachment.id);
    if (container && container.handle !== lease.handle) return;
    // Released before; the place belongs to a spare, or to another one, by now.
    if (!container && this.#kind(attachment).knows(attachment.name)) return;
    this.#containers.delete(attachment.id);
    const { mappedPorts } = container ?? lease;
    this.#inBackground(attachment, async () => {
      // Rules first: nobody may be sent to a namespace that goes. Without a container what is there is not known.
      if (container) await this.#removeRules(container);
      else await this.#resetRules();
      await this.#discard(attachment);
      await this.#releasePorts({ mappedPorts });
    });
  }

  async reclaim(leases: NetworkLease[]): Promise<void> {
    const attachments = leases.map(attachmentOf);
    const leased = attachments.flatMap(({ name, bridge }) => (bridge === undefined ? [name] : [name, bridge]));
    await this.#removeStrays(new Set(leased));
    for (const lease of leases) this.#current(lease);
    await this.#resetRules();
    // Not before: what the last engine left would be in the way of new namespaces.
    this.#pool.keepSpares();
  }

  async limitBandwidth(lease: NetworkLease, bandwidth: { rate: number; burst: number }): Promise<void> {
    await shapeTraffic(lease.hostInterface, bandwidth);
  }

  async traffic({ hostInterface }: NetworkLease): Promise<{ receivedBytes: number; sentBytes: number } | undefined> {
    // What the host's end of the pair sends, the container receives.
    const count = async (name: string) =>
      Number(await readFile(`/sys/class/net/${hostInterface}/statistics/${name}`, 'utf8'));
    try {
      const [receivedBytes, sentBytes] = await Promise.all([count('tx_bytes'), count('rx_bytes')]);
      return { receivedBytes, sentBytes };
    } catch {
      return undefined;
    }
  }

  /** Whose the attachment is. */
  #kind({ bridge }: Attachment): PoolNetworks | StaticNetworks {
    return bridge === undefined ? this.#pool : this.#statics;
  }

  async #discard(attachment: Attachment): Promise<void> {
    await this.#kind(attachment).discard(attachment);
  }

  /**
   * The kernel takes its time to remove rules and namespaces, and nobody needs to wait: the processes are dead, and
   * subnet and ports are not handed out before. A kill of the engine meanwhile leaves strays for `reclaim`.
   */
  #inBackground(attachment: Attachment, remove: () => Promise<void>): void {
    const removal = remove()
      .catch((error: unknown) => {
        this.#kind(attachment).forget(attachment.name);
        this.#logger.error('cannot remove a network', { name: attachment.name, ...errorData(error) });
      })
      .finally(() => this.#removals.delete(removal));
    this.#removals.add(removal);
  }

  async #removeRules(container: FirewallContainer): Promise<void> {
    try {
      await this.#firewall.apply(removeContainerRules(this.#policy.tag, container));
    } catch (error) {
      // By an operator's hand, or a flushed firewall: some of the rules are not there.
      this.#logger.warn('rewriting the firewall rules', { handle: container.handle, ...errorData(error) });
      await this.#resetRules();
    }
  }

  /** Brings the firewall to what it must be for the containers that this process knows. */
  async #resetRules(): Promise<void> {
    await this.#firewall.rewrite((saved) => {
      const content = { containers: [...this.#containers.values()], subnets: this.#statics.rules };
      return resetRules(this.#policy, content, saved);
    });
  }

  async #removeStrays(leased: Set<string>): Promise<void> {
    const names = await this.#namespaces.list(interfacePrefix(this.#options.tag));
    const isStray = (name: string) => !leased.has(name) && !this.#pool.knows(name) && !this.#statics.knows(name);
    const strays = names.filter(isStray);
    if (strays.length === 0) return;
    this.#logger.info('removing networks that no container has', { count: strays.length });
    await Promise.all(strays.map((name) => this.#namespaces.remove(name)));
  }

  /** What this process knows of a container; a lease that it never saw stands for itself. */
  #current(lease: NetworkLease): FirewallContainer {
    const { id } = attachmentOf(lease);
    const container = this.#containers.get(id) ?? containerOf(lease);
    this.#containers.set(id, container);
    return container;
  }

  async #releasePorts({ mappedPorts }: Pick<NetworkLease, 'mappedPorts'>): Promise<void> {
    const isMapped = (port: number) =>
      [...this.#containers.values()].some((other) => other.mappedPorts.some(({ hostPort }) => hostPort === port));
    for (const { hostPort } of mappedPorts) if (!isMapped(hostPort)) await this.#ports.release(hostPort);
  }

  async #externalIp(): Promise<string> {
    if (this.#options.externalIp !== undefined) return this.#options.externalIp;
    const name = defaultInterface(await readRoutes());
    return (name === undefined ? undefined : addressOf(name)) ?? '127.0.0.1';
  }

  async #mtu(routes: Route[]): Promise<number> {
    const { mtu, externalIp } = this.#options;
    if (mtu !== undefined) return mtu;
    const owner = externalIp === undefined ? undefined : interfaceWith(externalIp);
    const name = owner ?? defaultInterface(routes);
    return name === undefined ? largestMtu : Math.min(await mtuOf(name), largestMtu);
  }
}

/** @throws InvalidSpecError naming the option */
function normalCidr(network: string): string {
  return formatCidr(parseCidr(network));
}

function checkOptions({ tag, mtu, externalIp, dnsServers = [], tcp = {} }: NetworkOptions): void {
  if (!/^[0-9a-f]{1,4}$/.test(tag)) throw new InvalidSpecError(`invalid tag: ${tag}`);
  for (const address of [...dnsServers, ...(externalIp === undefined ? [] : [externalIp])]) parseAddress(address);
  if (mtu !== undefined && !(Number.isInteger(mtu) && mtu >= smallestAllowedMtu && mtu <= largestAllowedMtu)) {
    throw new InvalidSpecError(`mtu: ${mtu} is not within ${smallestAllowedMtu} to ${largestAllowedMtu}`);
  }
  for (const [name, value] of Object.entries(tcp)) {
    if (!(Number.isSafeInteger(value) && value > 0)) throw new InvalidSpecError(`tcp.${name}: ${value}`);
  }
}

function containerOf(lease: NetworkLease): FirewallContainer {
  const { handle, mappedPorts, netOut } = lease;
  return { ...firewallSource(attachmentOf(lease)), handle: String(handle), mappedPorts, netOut };
}

function firewallSource({ id, containerIp, bridge }: Attachment) {
  return { id, containerIp, ...(bridge !== undefined && { bridge }) };
}
