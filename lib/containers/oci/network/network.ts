import { mkdir, readFile } from 'node:fs/promises';
import type { Server } from 'node:net';
import { dirname } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { z } from 'zod';
import { writeFileAtomically } from '../../../files/atomic-write.js';
import { errorData, type Logger } from '../../../logging/logger.js';
import type { Launcher } from '../../../process/launcher.js';
import type { NetOutRule, PortMapping } from '../../engine.js';
import { ExhaustedError, HostRequirementError, InvalidSpecError } from '../../errors.js';
import type { Network, NetworkLease, NetworkRequest } from '../ports.js';
import type { StartActivity } from '../start-activity.js';
import { WarmPool } from '../warm-pool.js';
import { type Cidr, formatCidr, overlaps, parseAddress, parseCidr } from './addresses.js';
import { Firewall } from './firewall.js';
import {
  addressOf,
  defaultInterface,
  describeRoute,
  enableForwarding,
  holdPort,
  mtuOf,
  type Route,
  readRoutes,
} from './host.js';
import { type NamespaceOwner, Namespaces, namespacePath } from './namespaces.js';
import { PortPool } from './port-pool.js';
import {
  commonRules,
  containerRules,
  type FirewallContainer,
  type FirewallPolicy,
  interfaceName,
  interfacePrefix,
  mapPorts,
  netOutRules,
  removeAllRules,
  removeContainerRules,
  resetRules,
} from './rules.js';
import { type Subnet, SubnetPool, subnetPrefixLength } from './subnet-pool.js';

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
  /** Containers may connect to the host itself. @default false */
  allowHostAccess?: boolean;
  /** Name servers on the host that containers may ask all the same. @default none */
  dnsServers?: string[];
  /** Address that is told as the one mapped ports answer on. @default the address of the default route's interface */
  externalIp?: string;
  /** @default the MTU of the default route's interface, at most 1500 */
  mtu?: number;
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

/** A namespace with its link, in or out of the pool. */
interface Prepared {
  subnet: Subnet;
  name: string;
}

const leaseSchema = z.object({
  handle: z.string(),
  subnetIndex: z.number().int().nonnegative(),
  hostInterface: z.string(),
  containerIp: z.string(),
});

const defaultPool = '10.254.0.0/22';
const defaultPorts = { start: 61001, size: 4534 };
const defaultSpares = 4;
const largestMtu = 1500;
const preparationAttempts = 8;
const longestContentionPauseMs = 60;
/** Knuth's multiplier: neighbouring tags come to lie far apart. */
const scatteringFactor = 2_654_435_761;
const portStateSchema = z.object({ offset: z.number().int().nonnegative() });

/** Networks of containers: a namespace, a veth pair and a /30 each, firewall rules in one call. */
export function createNetwork(options: NetworkOptions): Network {
  return new VethNetwork(options);
}

class VethNetwork implements Network {
  readonly #options: NetworkOptions;
  readonly #logger: Logger;
  readonly #policy: FirewallPolicy;
  readonly #pool: Cidr;
  readonly #subnets: SubnetPool;
  readonly #firewall: Firewall;
  readonly #namespaces: Namespaces;
  readonly #spares: WarmPool<Prepared>;
  /** Names that this process is making, keeps as spares or has handed out; `reclaim` spares them. */
  readonly #known = new Set<string>();
  /** Containers by index of their subnet: what the firewall must hold. */
  readonly #containers = new Map<number, FirewallContainer>();
  /** Removals of released networks that are under way. */
  readonly #removals = new Set<Promise<void>>();
  readonly #heldPorts = new Map<number, Server>();
  #ports: PortPool;
  #savingOffset: Promise<void> = Promise.resolve();

  constructor(options: NetworkOptions) {
    if (!/^[0-9a-f]{1,4}$/.test(options.tag)) throw new InvalidSpecError(`invalid tag: ${options.tag}`);
    this.#options = options;
    this.#namespaces = new Namespaces(options.namespaceOwner);
    this.#firewall = new Firewall(options.launcher);
    this.#logger = options.logger;
    this.#pool = parseCidr(options.pool ?? defaultPool);
    this.#policy = {
      tag: options.tag,
      pool: formatCidr(this.#pool),
      denyNetworks: (options.denyNetworks ?? []).map((network) => formatCidr(parseCidr(network))),
      allowHostAccess: options.allowHostAccess ?? false,
      dnsServers: options.dnsServers ?? [],
    };
    for (const server of this.#policy.dnsServers) parseAddress(server);
    // Engines with the same pool begin at different places, so that they rarely try for the same subnet.
    const firstIndex = Math.imul(Number.parseInt(options.tag, 16), scatteringFactor) >>> 16;
    this.#subnets = new SubnetPool({ pool: this.#pool, restMs: options.subnetRestMs ?? 5_000, firstIndex });
    this.#ports = new PortPool({ ...(options.ports ?? defaultPorts), offset: 0 });
    this.#spares = new WarmPool({
      name: 'network namespaces',
      size: options.spares ?? defaultSpares,
      ...(options.activity && { activity: options.activity }),
      make: (_, count) => this.#prepare(count),
      discard: async (spares) => {
        await Promise.all(spares.map((spare) => this.#discard(spare)));
      },
      logger: options.logger,
    });
  }

  async start(): Promise<void> {
    const offset = await this.#readPortOffset();
    this.#ports = new PortPool({ ...(this.#options.ports ?? defaultPorts), offset });
    this.#checkPool(await readRoutes());
    await this.#namespaces.check();
    await enableForwarding();
    await this.#firewall.rewrite((saved) => commonRules(this.#policy, saved));
  }

  async stop(): Promise<void> {
    await this.#spares.stop();
    await Promise.all(this.#removals);
    await this.#savingOffset;
    await Promise.all([...this.#heldPorts.keys()].map((port) => this.#letGoOfPort(port)));
  }

  async teardown(): Promise<void> {
    await this.stop();
    await this.#removeStrays(new Set());
    await this.#firewall.rewrite((saved) => removeAllRules(this.#options.tag, saved));
    await this.#namespaces.removeEmptyDirectory();
  }

  async create(request: NetworkRequest): Promise<NetworkLease> {
    const prepared = await this.#spares.obtain('', () => this.#prepareOne());
    const { subnet } = prepared;
    const container: FirewallContainer = {
      index: subnet.index,
      handle: request.handle,
      containerIp: subnet.containerIp,
      mappedPorts: [],
      netOut: request.netOut,
    };
    try {
      for (const netIn of request.netIn) container.mappedPorts.push(await this.#choosePorts(netIn));
      await this.#firewall.apply(containerRules(this.#policy, container), () =>
        this.#containers.set(subnet.index, container),
      );
    } catch (error) {
      await this.#releasePorts(container.mappedPorts);
      await this.#discard(prepared);
      throw error;
    }
    return {
      namespacePath: namespacePath(prepared.name),
      containerIp: subnet.containerIp,
      hostIp: subnet.hostIp,
      externalIp: await this.#externalIp(),
      prefixLength: subnetPrefixLength,
      hostInterface: prepared.name,
      mappedPorts: container.mappedPorts,
      netOut: container.netOut,
      handle: request.handle,
      subnetIndex: subnet.index,
    };
  }

  async adopt(lease: NetworkLease): Promise<boolean> {
    const container = this.#containerOf(lease);
    if (!(await this.#namespaces.exists(lease.hostInterface))) return false;
    this.#subnets.claim(container.index);
    this.#known.add(lease.hostInterface);
    this.#containers.set(container.index, container);
    for (const { hostPort } of container.mappedPorts) {
      this.#ports.claim(hostPort);
      await this.#holdPort(hostPort);
    }
    return true;
  }

  async netIn(lease: NetworkLease, request: { hostPort?: number; containerPort?: number }): Promise<NetworkLease> {
    const container = this.#current(lease);
    const mapping = await this.#choosePorts(request);
    try {
      await this.#firewall.apply(mapPorts(this.#policy.tag, container, [mapping]), () => {
        container.mappedPorts = [...container.mappedPorts, mapping];
      });
    } catch (error) {
      await this.#releasePorts([mapping]);
      throw error;
    }
    return { ...lease, mappedPorts: container.mappedPorts, netOut: container.netOut };
  }

  async netOut(lease: NetworkLease, rules: NetOutRule[]): Promise<NetworkLease> {
    const container = this.#current(lease);
    await this.#firewall.apply(netOutRules(this.#policy.tag, container, rules), () => {
      container.netOut = [...container.netOut, ...rules];
    });
    return { ...lease, mappedPorts: container.mappedPorts, netOut: container.netOut };
  }

  async release(lease: NetworkLease): Promise<void> {
    const { handle, subnetIndex } = leaseSchema.parse(lease);
    const container = this.#containers.get(subnetIndex);
    if (container && container.handle !== handle) return;
    // Released before; the subnet belongs to a spare by now.
    if (!container && this.#known.has(lease.hostInterface)) return;
    this.#containers.delete(subnetIndex);
    const mappedPorts = container?.mappedPorts ?? lease.mappedPorts;
    this.#inBackground(lease.hostInterface, async () => {
      // Rules first: nobody may be sent to a namespace that goes. Without a container what is there is not known.
      if (container) await this.#removeRules(container);
      else await this.#resetRules();
      await this.#discard({ subnet: this.#subnets.subnet(subnetIndex), name: lease.hostInterface });
      await this.#releasePorts(mappedPorts);
    });
  }

  async reclaim(leases: NetworkLease[]): Promise<void> {
    await this.#removeStrays(new Set(leases.map((lease) => lease.hostInterface)));
    for (const lease of leases) this.#current(lease);
    await this.#resetRules();
    // Not before: what the last engine left would be in the way of new namespaces.
    this.#spares.keep('');
  }

  async limitBandwidth(lease: NetworkLease, bandwidth: { rate: number; burst: number }): Promise<void> {
    await this.#namespaces.limitBandwidth(lease.hostInterface, bandwidth);
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

  async #prepareOne(): Promise<Prepared> {
    for (let attempt = 1; attempt <= preparationAttempts; attempt += 1) {
      const [prepared] = await this.#prepareOnceRemoved();
      if (prepared) return prepared;
      // Whoever contends waits another time, so that the two do not meet again at the next subnet.
      await delay(Math.random() * longestContentionPauseMs);
    }
    throw new Error(`other networks on this host keep taking the subnets of ${this.#policy.pool}`);
  }

  /** When the pool is empty, what is just being removed comes back to it. */
  async #prepareOnceRemoved(): Promise<Prepared[]> {
    for (;;) {
      const removals = [...this.#removals];
      try {
        return await this.#prepare(1);
      } catch (error) {
        if (!(error instanceof ExhaustedError) || removals.length === 0) throw error;
        await Promise.race(removals);
      }
    }
  }

  /** Makes so many namespaces; fewer when the pool ends, or another engine took a subnet at the same moment. */
  async #prepare(count: number): Promise<Prepared[]> {
    const routes = await readRoutes();
    const present = new Set(await this.#namespaces.list(interfacePrefix(this.#options.tag)));
    const mtu = await this.#mtu(routes);
    const { taken, restMs } = this.#takeSubnets(count, routes, present);
    try {
      if (restMs > 0) await delay(restMs);
      await this.#namespaces.create(taken.map(({ subnet, name }) => ({ subnet, name, mtu })));
    } catch (error) {
      for (const { subnet, name } of taken) this.#giveBackSubnet(subnet, name);
      throw error;
    }
    const routesNow = await readRoutes();
    const isContested = ({ subnet, name }: Prepared) =>
      this.#usedByHost(
        routesNow.filter((route) => route.interface !== name),
        subnet.cidr,
      ) !== undefined;
    const contested = taken.filter(isContested);
    await Promise.all(contested.map((prepared) => this.#discard(prepared)));
    return taken.filter((prepared) => !contested.includes(prepared));
  }

  /** Takes up to `count` subnets, at least one; `restMs` is how long the last of them must still rest. */
  #takeSubnets(count: number, routes: Route[], present: Set<string>): { taken: Prepared[]; restMs: number } {
    const isRefused = (subnet: Subnet) =>
      present.has(this.#nameOf(subnet)) || this.#usedByHost(routes, subnet.cidr) !== undefined;
    const taken: Prepared[] = [];
    let restMs = 0;
    while (taken.length < count) {
      try {
        const { subnet, ripeInMs } = this.#subnets.acquire(Date.now(), isRefused);
        taken.push({ subnet, name: this.#nameOf(subnet) });
        restMs = Math.max(restMs, ripeInMs);
      } catch (error) {
        if (taken.length === 0) throw error;
        break;
      }
    }
    for (const { name } of taken) this.#known.add(name);
    return { taken, restMs };
  }

  #nameOf(subnet: Subnet): string {
    return interfaceName(this.#options.tag, subnet.index);
  }

  #giveBackSubnet(subnet: Subnet, name: string): void {
    this.#known.delete(name);
    this.#subnets.release(subnet.index, Date.now());
  }

  /** The subnet goes back only when the link is gone: until then the host routes it there. */
  async #discard({ subnet, name }: Prepared): Promise<void> {
    await this.#namespaces.remove(name);
    this.#giveBackSubnet(subnet, name);
  }

  /**
   * The kernel takes its time to remove rules and namespaces, and nobody needs to wait: the processes are dead, and
   * subnet and ports are not handed out before. A kill of the engine meanwhile leaves strays for `reclaim`.
   */
  #inBackground(name: string, remove: () => Promise<void>): void {
    const removal = remove()
      .catch((error: unknown) => {
        this.#known.delete(name);
        this.#logger.error('cannot remove a network', { name, ...errorData(error) });
      })
      .finally(() => this.#removals.delete(removal));
    this.#removals.add(removal);
  }

  /**
   * A route of the host that a network must not take packets from: one of a network that the host is attached to, or
   * one made for just these addresses. A wide route through a gateway may well contain the pool.
   */
  #usedByHost(routes: Route[], cidr: Cidr): Route | undefined {
    return routes.find(
      (route) =>
        route.destination.prefixLength > 0 &&
        (route.isDirect || route.destination.prefixLength >= this.#pool.prefixLength) &&
        overlaps(route.destination, cidr),
    );
  }

  #checkPool(routes: Route[]): void {
    const wide = routes.filter((route) => route.destination.prefixLength <= this.#pool.prefixLength);
    const conflict = this.#usedByHost(wide, this.#pool);
    if (!conflict) return;
    throw new HostRequirementError(
      `the network pool ${this.#policy.pool} is in use on this host: ${describeRoute(conflict)}; choose another one`,
    );
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
    await this.#firewall.rewrite((saved) => resetRules(this.#policy, [...this.#containers.values()], saved));
  }

  async #removeStrays(leased: Set<string>): Promise<void> {
    const names = await this.#namespaces.list(interfacePrefix(this.#options.tag));
    const strays = names.filter((name) => !leased.has(name) && !this.#known.has(name));
    if (strays.length === 0) return;
    this.#logger.info('removing network namespaces that no container has', { count: strays.length });
    await Promise.all(strays.map((name) => this.#namespaces.remove(name)));
  }

  /** What this process knows of a container; a lease that it never saw stands for itself. */
  #current(lease: NetworkLease): FirewallContainer {
    const { subnetIndex } = leaseSchema.parse(lease);
    const container = this.#containers.get(subnetIndex) ?? this.#containerOf(lease);
    this.#containers.set(subnetIndex, container);
    return container;
  }

  #containerOf(lease: NetworkLease): FirewallContainer {
    const { handle, subnetIndex, containerIp } = leaseSchema.parse(lease);
    return { index: subnetIndex, handle, containerIp, mappedPorts: lease.mappedPorts, netOut: lease.netOut };
  }

  async #choosePorts(request: { hostPort?: number; containerPort?: number }): Promise<PortMapping> {
    for (const port of [request.hostPort, request.containerPort]) {
      if (port !== undefined && !(Number.isInteger(port) && port >= 0 && port <= 65535)) {
        throw new InvalidSpecError(`invalid port: ${port}`);
      }
    }
    const hostPort = request.hostPort || (await this.#ports.acquire((port) => this.#holdPort(port)));
    if (request.hostPort) {
      // The caller's responsibility: it may be mapped twice, or belong to a listener that is not reached any more.
      this.#ports.claim(hostPort);
      await this.#holdPort(hostPort);
    } else {
      this.#savePortOffset();
    }
    return { hostPort, containerPort: request.containerPort || hostPort };
  }

  async #holdPort(port: number): Promise<boolean> {
    const server = await holdPort(port);
    if (server) this.#heldPorts.set(port, server);
    return server !== undefined;
  }

  async #letGoOfPort(port: number): Promise<void> {
    const server = this.#heldPorts.get(port);
    this.#heldPorts.delete(port);
    if (server) await new Promise<void>((resolve) => server.close(() => resolve()));
  }

  async #releasePorts(mappings: PortMapping[]): Promise<void> {
    const stillMapped = new Set(
      [...this.#containers.values()].flatMap(({ mappedPorts }) => mappedPorts.map((m) => m.hostPort)),
    );
    for (const { hostPort } of mappings) {
      if (stillMapped.has(hostPort)) continue;
      await this.#letGoOfPort(hostPort);
      this.#ports.release(hostPort);
    }
  }

  async #readPortOffset(): Promise<number> {
    try {
      return portStateSchema.parse(JSON.parse(await readFile(this.#options.portStateFile, 'utf8'))).offset;
    } catch {
      // None yet, or not readable as one: any place is good to begin at.
      return 0;
    }
  }

  /** Not durable: after a crash of the machine nobody remembers the ports. */
  #savePortOffset(): void {
    const path = this.#options.portStateFile;
    this.#savingOffset = this.#savingOffset
      .then(async () => {
        await mkdir(dirname(path), { recursive: true });
        await writeFileAtomically(path, JSON.stringify({ offset: this.#ports.offset }), { durable: false });
      })
      .catch((error: unknown) => this.#logger.warn('cannot save the position in the port pool', errorData(error)));
  }

  async #externalIp(): Promise<string> {
    if (this.#options.externalIp !== undefined) return this.#options.externalIp;
    const name = defaultInterface(await readRoutes());
    return (name === undefined ? undefined : addressOf(name)) ?? '127.0.0.1';
  }

  async #mtu(routes: Route[]): Promise<number> {
    if (this.#options.mtu !== undefined) return this.#options.mtu;
    const name = defaultInterface(routes);
    return name === undefined ? largestMtu : Math.min(await mtuOf(name), largestMtu);
  }
}
