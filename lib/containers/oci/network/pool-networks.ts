import { setTimeout as delay } from 'node:timers/promises';
import type { Logger } from '../../../logging/logger.js';
import { ExhaustedError, HostRequirementError } from '../../errors.js';
import type { StartActivity } from '../start-activity.js';
import { WarmPool } from '../warm-pool.js';
import { type Cidr, formatCidr } from './addresses.js';
import type { Attachment } from './attachment.js';
import { interfaceName, interfacePrefix } from './firewall/rules.js';
import { describeRoute, type Route, readRoutes, routeInTheWay } from './host.js';
import type { Namespaces } from './namespaces.js';
import { type Subnet, SubnetPool, subnetPrefixLength } from './subnet-pool.js';

export interface PoolNetworksOptions {
  tag: string;
  pool: Cidr;
  /** How long a released subnet rests, milliseconds. */
  restMs: number;
  /** Spare namespaces. 0: none. */
  spares: number;
  /** Stocks are filled when nothing is being started. */
  activity?: StartActivity;
  namespaces: Namespaces;
  mtu: (routes: Route[]) => Promise<number>;
  /** Removals under way: what they free comes back to an empty pool. */
  removals: ReadonlySet<Promise<void>>;
  logger: Logger;
}

/** A namespace with its link, in or out of the stock. */
interface Prepared {
  subnet: Subnet;
  name: string;
}

const preparationAttempts = 8;
const longestContentionPauseMs = 60;
/** Knuth's multiplier: neighbouring tags come to lie far apart. */
const scatteringFactor = 2_654_435_761;

/** Attachments with a /30 of the pool each, some of them made in advance (docs/protocol/containers.md §3.5, §4.4). */
export class PoolNetworks {
  readonly #options: PoolNetworksOptions;
  readonly #subnets: SubnetPool;
  readonly #spares: WarmPool<Prepared>;
  /** Names that this process is making, keeps as spares or has handed out. */
  readonly #known = new Set<string>();

  constructor(options: PoolNetworksOptions) {
    this.#options = options;
    // Engines with the same pool begin at different places, so that they rarely try for the same subnet.
    const firstIndex = Math.imul(Number.parseInt(options.tag, 16), scatteringFactor) >>> 16;
    this.#subnets = new SubnetPool({ pool: options.pool, restMs: options.restMs, firstIndex });
    this.#spares = new WarmPool({
      name: 'network namespaces',
      size: options.spares,
      ...(options.activity && { activity: options.activity }),
      make: (_, count) => this.#prepare(count),
      discard: async (spares) => {
        await Promise.all(spares.map((spare) => this.#discard(spare)));
      },
      logger: options.logger,
    });
  }

  /** @throws HostRequirementError when the host itself uses the pool */
  async start(): Promise<void> {
    const { pool } = this.#options;
    const wide = (await readRoutes()).filter((route) => route.destination.prefixLength <= pool.prefixLength);
    const conflict = routeInTheWay(wide, pool, pool.prefixLength);
    if (!conflict) return;
    throw new HostRequirementError(
      `the network pool ${formatCidr(pool)} is in use on this host: ${describeRoute(conflict)}; choose another one`,
    );
  }

  /** Begins to make spares. Not before strays are gone, which would be in their way. */
  keepSpares(): void {
    this.#spares.keep('');
  }

  /** Gives back spares. Idempotent. */
  async stop(): Promise<void> {
    await this.#spares.stop();
  }

  /** @throws ExhaustedError when no subnet is free */
  async obtain(): Promise<Attachment> {
    return attachment(await this.#spares.obtain('', () => this.#prepareOne()));
  }

  /** Takes what a container has that an engine before this one made. */
  claim({ id, name }: Attachment): void {
    this.#subnets.claim(Number(id));
    this.#known.add(name);
  }

  /** Removes namespace and link; the subnet goes back only then: until the link is gone the host routes it there. */
  async discard({ id, name }: Attachment): Promise<void> {
    await this.#discard({ subnet: this.#subnets.subnet(Number(id)), name });
  }

  /** Whether a namespace is being made, in stock or handed out. */
  knows(name: string): boolean {
    return this.#known.has(name);
  }

  /** After a failed removal: what is left is a stray. */
  forget(name: string): void {
    this.#known.delete(name);
  }

  async #prepareOne(): Promise<Prepared> {
    for (let attempt = 1; attempt <= preparationAttempts; attempt += 1) {
      const [prepared] = await this.#prepareOnceRemoved();
      if (prepared) return prepared;
      // Whoever contends waits another time, so that the two do not meet again at the next subnet.
      await delay(Math.random() * longestContentionPauseMs);
    }
    throw new Error(`other networks on this host keep taking the subnets of ${formatCidr(this.#options.pool)}`);
  }

  /** When the pool is empty, what is just being removed comes back to it. */
  async #prepareOnceRemoved(): Promise<Prepared[]> {
    for (;;) {
      const removals = [...this.#options.removals];
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
    const { namespaces, tag, mtu } = this.#options;
    const routes = await readRoutes();
    const present = new Set(await namespaces.list(interfacePrefix(tag)));
    const linkMtu = await mtu(routes);
    const { taken, restMs } = this.#takeSubnets(count, routes, present);
    try {
      if (restMs > 0) await delay(restMs);
      await namespaces.create(taken.map(attachment), linkMtu);
    } catch (error) {
      for (const prepared of taken) this.#giveBack(prepared);
      throw error;
    }
    const routesNow = await readRoutes();
    const isContested = ({ subnet, name }: Prepared) =>
      this.#isInUse(
        routesNow.filter((route) => route.interface !== name),
        subnet,
      );
    const contested = taken.filter(isContested);
    await Promise.all(contested.map((prepared) => this.#discard(prepared)));
    return taken.filter((prepared) => !contested.includes(prepared));
  }

  /** Takes up to `count` subnets, at least one; `restMs` is how long the last of them must still rest. */
  #takeSubnets(count: number, routes: Route[], present: Set<string>): { taken: Prepared[]; restMs: number } {
    const isRefused = (subnet: Subnet) => present.has(this.#nameOf(subnet)) || this.#isInUse(routes, subnet);
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

  #isInUse(routes: Route[], subnet: Subnet): boolean {
    return routeInTheWay(routes, subnet.cidr, this.#options.pool.prefixLength) !== undefined;
  }

  #nameOf(subnet: Subnet): string {
    return interfaceName(this.#options.tag, String(subnet.index));
  }

  async #discard(prepared: Prepared): Promise<void> {
    await this.#options.namespaces.remove(prepared.name);
    this.#giveBack(prepared);
  }

  #giveBack({ subnet, name }: Prepared): void {
    this.#known.delete(name);
    this.#subnets.release(subnet.index, Date.now());
  }
}

function attachment({ subnet, name }: Prepared): Attachment {
  const { index, hostIp, containerIp } = subnet;
  return { id: String(index), name, hostIp, containerIp, prefixLength: subnetPrefixLength };
}
