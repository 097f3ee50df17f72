import type { Logger } from '../../../logging/logger.js';
import { errorData } from '../../../logging/logger.js';
import { InvalidSpecError } from '../../errors.js';
import { type Cidr, formatAddress, formatCidr, parseAddress } from './addresses.js';
import type { Attachment } from './attachment.js';
import { createBridge } from './bridges.js';
import type { Firewall } from './firewall/firewall.js';
import {
  type FirewallSubnet,
  interfaceName,
  interfacePrefix,
  removeSubnetRules,
  subnetRules,
} from './firewall/rules.js';
import { type Route, readRoutes, routeInTheWay } from './host.js';
import type { Namespaces } from './namespaces.js';
import {
  checkNewSubnet,
  chooseAddress,
  gatewayOf,
  parseSubnetRequest,
  type SubnetRequest,
  subnetOf,
} from './static-subnet.js';

export interface StaticNetworksOptions {
  tag: string;
  /** Subnets that containers ask for must not lie in it. */
  pool: Cidr;
  namespaces: Namespaces;
  firewall: Firewall;
  /** Brings all rules of the engine to what they must be, when some were not found. */
  resetRules: () => Promise<void>;
  mtu: (routes: Route[]) => Promise<number>;
  logger: Logger;
}

/**
 * A subnet with its bridge:
 *
 *     opening ---> open ---> closing ---> (gone)
 *
 * The first container opens it, the last one that leaves closes it; who comes meanwhile waits.
 */
interface SharedSubnet {
  subnet: Cidr;
  bridge: string;
  /** Names of the containers' links by address. */
  members: Map<number, string>;
  opened: Promise<void>;
  hasRules: boolean;
  closed?: Promise<void>;
}

const mostIds = 99_999;

/** Attachments to subnets that callers ask for; several containers may share one (docs/protocol/containers.md §3.5). */
export class StaticNetworks {
  readonly #options: StaticNetworksOptions;
  readonly #subnets = new Map<string, SharedSubnet>();
  /** Names of links and bridges that this process makes, or has handed out. */
  readonly #known = new Set<string>();

  constructor(options: StaticNetworksOptions) {
    this.#options = options;
  }

  /**
   * @param request `a.b.c.d/n`, or `a.b.c.d` in a /30
   * @throws InvalidSpecError for a subnet or an address that cannot be had
   * @throws ExhaustedError when no address of the subnet is left
   */
  async obtain(request: string): Promise<Attachment> {
    const { namespaces, mtu } = this.#options;
    const { shared, address, name } = await this.#enter(parseSubnetRequest(request));
    try {
      await shared.opened;
      const attachment = this.#attachment(shared, address, name);
      await namespaces.create([attachment], await mtu(await readRoutes()));
      return attachment;
    } catch (error) {
      await this.#leave(shared, address, name);
      throw error;
    }
  }

  /** Takes what a container has that an engine before this one made. */
  claim(attachment: Attachment): void {
    this.#join(attachment).hasRules = true;
  }

  #join({ name, bridge, containerIp, prefixLength }: Attachment): SharedSubnet {
    if (bridge === undefined) throw new InvalidSpecError(`the lease of ${name} names no bridge`);
    const subnet = subnetOf(containerIp, prefixLength);
    const key = formatCidr(subnet);
    const shared = this.#subnets.get(key) ?? {
      subnet,
      bridge,
      members: new Map(),
      opened: Promise.resolve(),
      hasRules: false,
    };
    this.#subnets.set(key, shared);
    const address = parseAddress(containerIp);
    if (!shared.members.has(address)) shared.members.set(address, name);
    this.#known.add(name).add(shared.bridge);
    return shared;
  }

  /** Removes namespace and link, and the bridge with its last container. */
  async discard(attachment: Attachment): Promise<void> {
    const { name, containerIp, prefixLength } = attachment;
    // One that an engine before this one lost: its bridge may have nobody else.
    if (!this.#known.has(name)) this.#join(attachment);
    await this.#options.namespaces.remove(name);
    const shared = this.#subnets.get(formatCidr(subnetOf(containerIp, prefixLength)));
    if (shared) await this.#leave(shared, parseAddress(containerIp), name);
  }

  /** Whether a link or bridge is being made or handed out. */
  knows(name: string): boolean {
    return this.#known.has(name);
  }

  /** After a failed removal: what is left is a stray. */
  forget(name: string): void {
    this.#known.delete(name);
  }

  /** What the firewall must hold for the subnets. */
  get rules(): FirewallSubnet[] {
    return [...this.#subnets.values()].filter(({ hasRules }) => hasRules).map(firewallSubnet);
  }

  /** A place in a subnet, which is begun when nobody has it yet. */
  async #enter(request: SubnetRequest): Promise<{ shared: SharedSubnet; address: number; name: string }> {
    const key = formatCidr(request.subnet);
    for (;;) {
      const [routes, present] = await Promise.all([
        readRoutes(),
        this.#options.namespaces.list(interfacePrefix(this.#options.tag)),
      ]);
      const known = this.#subnets.get(key);
      if (known?.closed) {
        await known.closed;
        continue;
      }
      if (!known) this.#checkNew(request.subnet, routes);
      const address = chooseAddress(request, (candidate) => known?.members.has(candidate) === true);
      const name = this.#claimName('s', present);
      const shared = known ?? this.#begin(request.subnet, this.#claimName('b', present));
      shared.members.set(address, name);
      return { shared, address, name };
    }
  }

  #checkNew(subnet: Cidr, routes: Route[]): void {
    const ours = [...this.#subnets.values()].map((shared) => shared.subnet);
    const conflict = routeInTheWay(routes, subnet, subnet.prefixLength);
    const existing = [...ours, ...(conflict ? [conflict.destination] : [])];
    checkNewSubnet(subnet, { pool: this.#options.pool, existing });
  }

  #begin(subnet: Cidr, bridge: string): SharedSubnet {
    const shared: SharedSubnet = {
      subnet,
      bridge,
      members: new Map(),
      opened: Promise.resolve(),
      hasRules: false,
    };
    this.#subnets.set(formatCidr(subnet), shared);
    shared.opened = this.#open(shared);
    // Whoever waits for it hears of a failure.
    shared.opened.catch(() => {});
    return shared;
  }

  async #open(shared: SharedSubnet): Promise<void> {
    const { subnet, bridge } = shared;
    const { mtu, firewall, tag, pool } = this.#options;
    await createBridge({
      name: bridge,
      hostIp: formatAddress(gatewayOf(subnet)),
      prefixLength: subnet.prefixLength,
      mtu: await mtu(await readRoutes()),
    });
    // Another engine may have taken it at the same moment.
    const others = (await readRoutes()).filter((route) => route.interface !== bridge);
    const conflict = routeInTheWay(others, subnet, subnet.prefixLength);
    if (conflict) checkNewSubnet(subnet, { pool, existing: [conflict.destination] });
    await firewall.apply(subnetRules(tag, firewallSubnet(shared)), () => {
      shared.hasRules = true;
    });
  }

  async #leave(shared: SharedSubnet, address: number, name: string): Promise<void> {
    this.#known.delete(name);
    if (shared.members.get(address) === name) shared.members.delete(address);
    if (shared.members.size > 0 || shared.closed) return;
    const closing = this.#close(shared);
    shared.closed = closing.catch(() => {});
    await closing;
  }

  async #close(shared: SharedSubnet): Promise<void> {
    const { firewall, tag, namespaces, resetRules, logger } = this.#options;
    try {
      // A bridge that is still being made would come after its removal.
      await shared.opened.catch(() => {});
      const hadRules = shared.hasRules;
      shared.hasRules = false;
      if (hadRules) {
        await firewall.apply(removeSubnetRules(tag, firewallSubnet(shared))).catch(async (error: unknown) => {
          // By an operator's hand, or a flushed firewall: some of the rules are not there.
          logger.warn('rewriting the firewall rules', { subnet: formatCidr(shared.subnet), ...errorData(error) });
          await resetRules();
        });
      }
      if (!this.#isOfAnother(shared)) await namespaces.remove(shared.bridge);
    } finally {
      if (!this.#isOfAnother(shared)) this.#known.delete(shared.bridge);
      this.#subnets.delete(formatCidr(shared.subnet));
    }
  }

  /** An old lease may be released again when its bridge's name has long been given to another subnet. */
  #isOfAnother({ subnet, bridge }: SharedSubnet): boolean {
    return [...this.#subnets.values()].some((other) => other.subnet !== subnet && other.bridge === bridge);
  }

  #attachment({ subnet, bridge }: SharedSubnet, address: number, name: string): Attachment {
    return {
      id: name.slice(interfacePrefix(this.#options.tag).length),
      name,
      hostIp: formatAddress(gatewayOf(subnet)),
      containerIp: formatAddress(address),
      prefixLength: subnet.prefixLength,
      bridge,
    };
  }

  #claimName(kind: 's' | 'b', present: string[]): string {
    for (let number = 0; number <= mostIds; number += 1) {
      const name = interfaceName(this.#options.tag, `${kind}${number}`);
      if (this.#known.has(name) || present.includes(name)) continue;
      this.#known.add(name);
      return name;
    }
    throw new Error('no name for a link is left');
  }
}

function firewallSubnet({ subnet, bridge }: SharedSubnet): FirewallSubnet {
  return { cidr: formatCidr(subnet), bridge };
}
