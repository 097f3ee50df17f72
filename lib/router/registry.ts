import type { BalancingAlgorithm, Endpoint } from './messages.js';
import { addressOf, Pool, thresholdOf } from './pool.js';

export interface RegistryOptions {
  /** Endpoints that were not refreshed for so long are dropped, unless they ask for less. */
  staleThresholdSeconds: number;
  /** How long a route without endpoints is still known. @default 0 */
  emptyPoolSeconds?: number;
  /** For routes whose registration asks for none. @default 'round-robin' */
  balancing?: BalancingAlgorithm;
  /** Exchanges that an endpoint may have at a time. @default 0, any number */
  maximumConnections?: number;
  /** Milliseconds since 1970. */
  clock: () => number;
  /** From 0 up to, without, 1. @default Math.random */
  random?: () => number;
}

/** What `GET /routes` tells of an endpoint. */
export interface EndpointDescription {
  address: string;
  availability_zone: string;
  protocol: string;
  tls: boolean;
  ttl: number;
  tags: Record<string, string> | null;
  private_instance_id?: string;
  server_cert_domain_san?: string;
}

/** The routes of a host, by segments of their paths. */
interface Node {
  pool: Pool | undefined;
  children: Map<string, Node>;
}

/** Longer names do not exist; to look for them would only take time. */
const maximumHostLength = 255;

/** The routing table: from `host[/path]` to pools of endpoints (docs/protocol/edge.md §1.4). No I/O. */
export class Registry {
  private readonly hosts = new Map<string, Node>();

  constructor(private readonly options: RegistryOptions) {}

  /** @returns whether the endpoint is new for that route */
  register(uri: string, endpoint: Endpoint): boolean {
    const { host, segments } = splitUri(uri);
    if (host === '') return false;
    let node = childOf(this.hosts, host);
    for (const segment of segments) node = childOf(node.children, segment);
    node.pool ??= this.makePool(segments);
    return node.pool.put(endpoint);
  }

  /** Only the address counts, not the app or the instance. @returns whether the endpoint was there */
  unregister(uri: string, endpoint: Pick<Endpoint, 'host' | 'port'>): boolean {
    const { host, segments } = splitUri(uri);
    let node: Node | undefined = this.hosts.get(host);
    for (const segment of segments) node = node?.children.get(segment);
    const wasThere = node?.pool?.remove(endpoint) ?? false;
    if (wasThere && node!.pool!.isEmpty) this.forgetEmptied([host]);
    return wasThere;
  }

  /**
   * The pool for a request: for the host itself, then for each wildcard above it, the longest prefix of the path on
   * segment borders that has endpoints; failing that, a known route without endpoints.
   *
   * @param host without port, any case
   * @param path escaped, as it came, without query
   */
  lookup(host: string, path: string): Pool | undefined {
    if (host.length > maximumHostLength) return undefined;
    for (const candidate of hostCandidates(host.toLowerCase())) {
      const pool = longestMatch(this.hosts.get(candidate), path.toLowerCase());
      if (pool) return pool;
    }
    return undefined;
  }

  /** Drops stale endpoints and routes without any. @returns what was dropped, with its route */
  prune(): { uri: string; endpoint: Endpoint }[] {
    const pruned = [...this.pools()].flatMap(([uri, pool]) =>
      pool.prune(this.options.staleThresholdSeconds).map((endpoint) => ({ uri, endpoint })),
    );
    this.forgetEmptied(this.hosts.keys());
    return pruned;
  }

  /** Makes all endpoints as good as just registered: nobody could refresh them while the message bus was away. */
  refreshAll(): void {
    for (const [, pool] of this.pools()) pool.refreshAll();
  }

  /** As `GET /routes` shows the table. */
  describe(): Record<string, EndpointDescription[]> {
    const routes = [...this.pools()].filter(([, pool]) => !pool.isEmpty);
    return Object.fromEntries(routes.map(([uri, pool]) => [uri, pool.list().map((each) => this.describeOne(each))]));
  }

  private describeOne(endpoint: Endpoint): EndpointDescription {
    return {
      address: addressOf(endpoint),
      availability_zone: endpoint.availabilityZone,
      protocol: endpoint.protocol,
      tls: endpoint.isTls,
      ttl: thresholdOf(endpoint, this.options.staleThresholdSeconds),
      tags: endpoint.tags,
      ...(endpoint.instanceId && { private_instance_id: endpoint.instanceId }),
      ...(endpoint.serverName && { server_cert_domain_san: endpoint.serverName }),
    };
  }

  private makePool(segments: string[]): Pool {
    const { balancing = 'round-robin', maximumConnections = 0, clock, random = Math.random } = this.options;
    return new Pool({ contextPath: `/${segments.join('/')}`, balancing, maximumConnections, clock, random });
  }

  private *pools(): Generator<[uri: string, pool: Pool]> {
    for (const [host, node] of this.hosts) yield* poolsBelow(host, node);
  }

  private forgetEmptied(hosts: Iterable<string>): void {
    const limitMs = (this.options.emptyPoolSeconds ?? 0) * 1000;
    const isForgotten = (pool: Pool) => pool.isEmpty && pool.emptyMs >= limitMs;
    for (const host of hosts) {
      if (tidy(this.hosts.get(host)!, isForgotten)) this.hosts.delete(host);
    }
  }
}

function childOf(nodes: Map<string, Node>, name: string): Node {
  const known = nodes.get(name);
  if (known) return known;
  const made: Node = { pool: undefined, children: new Map() };
  nodes.set(name, made);
  return made;
}

/** Lower case, without query and one trailing slash. */
function splitUri(uri: string): { host: string; segments: string[] } {
  const [withoutQuery = ''] = uri.toLowerCase().split('?');
  const [host = '', ...segments] = withoutQuery.replace(/\/$/, '').split('/');
  return { host, segments };
}

/** `a.b.c`, then `*.b.c`, then `*.c`. Only the host is cut: a dot in the path is no label's end. */
function* hostCandidates(host: string): Generator<string> {
  yield host;
  for (let dot = host.indexOf('.'); dot >= 0; dot = host.indexOf('.', dot + 1)) yield `*${host.slice(dot)}`;
}

function longestMatch(start: Node | undefined, path: string): Pool | undefined {
  let withEndpoints: Pool | undefined;
  let empty: Pool | undefined;
  let position = 0;
  for (let node = start; node; ) {
    if (node.pool?.isEmpty) empty = node.pool;
    else if (node.pool) withEndpoints = node.pool;
    if (position >= path.length) break;
    // A path of a million segments costs no more than the table is deep.
    const end = path.indexOf('/', position + 1);
    const segment = path.slice(position + 1, end < 0 ? undefined : end);
    position = end < 0 ? path.length : end;
    node = node.children.get(segment);
  }
  return withEndpoints ?? empty;
}

function* poolsBelow(uri: string, node: Node): Generator<[uri: string, pool: Pool]> {
  if (node.pool) yield [uri, node.pool];
  for (const [segment, child] of node.children) yield* poolsBelow(`${uri}/${segment}`, child);
}

/** Removes pools that are to be forgotten. @returns whether nothing is left */
function tidy(node: Node, isForgotten: (pool: Pool) => boolean): boolean {
  if (node.pool && isForgotten(node.pool)) node.pool = undefined;
  for (const [segment, child] of node.children) {
    if (tidy(child, isForgotten)) node.children.delete(segment);
  }
  return !node.pool && node.children.size === 0;
}
