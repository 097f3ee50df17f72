import type { Endpoint } from './messages.js';

export interface RegistryOptions {
  /** Endpoints that were not refreshed for so long are dropped, unless they ask for less. */
  staleThresholdSeconds: number;
  /** Milliseconds since 1970. */
  clock: () => number;
}

interface Entry {
  endpoint: Endpoint;
  refreshedMs: number;
  /** Failed dials keep a plain endpoint out of the choice until then. */
  ineligibleUntilMs: number;
}

/** The endpoints of one route, chosen in turn. */
export class Pool {
  private readonly entries = new Map<string, Entry>();
  private turn: number;

  constructor(
    /** Path of the route, `/` when it has none. */
    readonly contextPath: string,
    private readonly clock: () => number,
  ) {
    this.turn = Math.floor(Math.random() * 1000);
  }

  get size(): number {
    return this.entries.size;
  }

  put(endpoint: Endpoint): void {
    const key = addressOf(endpoint);
    const known = this.entries.get(key);
    this.entries.set(key, {
      endpoint,
      refreshedMs: this.clock(),
      ineligibleUntilMs: known?.ineligibleUntilMs ?? 0,
    });
  }

  remove(endpoint: Pick<Endpoint, 'host' | 'port'>): void {
    this.entries.delete(addressOf(endpoint));
  }

  list(): { endpoint: Endpoint; ageSeconds: number }[] {
    const nowMs = this.clock();
    return [...this.entries.values()].map(({ endpoint, refreshedMs }) => ({
      endpoint,
      ageSeconds: Math.floor((nowMs - refreshedMs) / 1000),
    }));
  }

  /** The next endpoint in turn that was not tried yet and may be chosen. When none may, all are given a new chance. */
  next(tried: ReadonlySet<string>): Endpoint | undefined {
    const untried = [...this.entries.values()].filter(({ endpoint }) => !tried.has(addressOf(endpoint)));
    if (untried.length === 0) return undefined;
    const nowMs = this.clock();
    if ([...this.entries.values()].every(({ ineligibleUntilMs }) => ineligibleUntilMs > nowMs)) this.forgive();
    const eligible = untried.filter(({ ineligibleUntilMs }) => ineligibleUntilMs <= nowMs);
    const choice = eligible.length > 0 ? eligible : untried;
    this.turn += 1;
    return choice[this.turn % choice.length]!.endpoint;
  }

  find(accept: (endpoint: Endpoint) => boolean): Endpoint | undefined {
    return [...this.entries.values()].find(({ endpoint }) => accept(endpoint))?.endpoint;
  }

  markFailed(endpoint: Endpoint, forMs: number): void {
    const entry = this.entries.get(addressOf(endpoint));
    if (entry) entry.ineligibleUntilMs = this.clock() + forMs;
  }

  /** Drops what was not refreshed in time; encrypted endpoints prove themselves at each connection and stay. */
  prune(thresholdSeconds: number): Endpoint[] {
    const nowMs = this.clock();
    const stale = [...this.entries.values()].filter(({ endpoint, refreshedMs }) => {
      const own = endpoint.staleThresholdSeconds;
      const limit = own > 0 && own < thresholdSeconds ? own : thresholdSeconds;
      return !endpoint.isTls && nowMs - refreshedMs > limit * 1000;
    });
    for (const { endpoint } of stale) this.remove(endpoint);
    return stale.map(({ endpoint }) => endpoint);
  }

  refreshAll(): void {
    for (const entry of this.entries.values()) entry.refreshedMs = this.clock();
  }

  private forgive(): void {
    for (const entry of this.entries.values()) entry.ineligibleUntilMs = 0;
  }
}

/** Identity of an endpoint within its pool. */
export function addressOf({ host, port }: Pick<Endpoint, 'host' | 'port'>): string {
  return `${host}:${port}`;
}

/** The routing table: route keys, `host[/path]`, to pools (docs/protocol/edge.md §1.4). */
export class Registry {
  private readonly pools = new Map<string, Pool>();

  constructor(private readonly options: RegistryOptions) {}

  register(uri: string, endpoint: Endpoint): void {
    const key = routeKey(uri);
    let pool = this.pools.get(key);
    if (!pool) {
      pool = new Pool(contextPathOf(key), this.options.clock);
      this.pools.set(key, pool);
    }
    pool.put(endpoint);
  }

  unregister(uri: string, endpoint: Pick<Endpoint, 'host' | 'port'>): void {
    const key = routeKey(uri);
    const pool = this.pools.get(key);
    pool?.remove(endpoint);
    if (pool?.size === 0) this.pools.delete(key);
  }

  /**
   * The pool for a request: the longest registered prefix of its path on segment borders, for the host itself, then
   * for each wildcard above it.
   * @param host without port, any case
   * @param path escaped, as it came, without query
   */
  lookup(host: string, path: string): Pool | undefined {
    const segments = path.split('/').filter(Boolean);
    for (const candidate of hostCandidates(host.toLowerCase())) {
      for (let length = segments.length; length >= 0; length -= 1) {
        const pool = this.pools.get([candidate, ...segments.slice(0, length)].join('/').toLowerCase());
        if (pool) return pool;
      }
    }
    return undefined;
  }

  /** Drops stale endpoints and emptied pools. @returns what was dropped, with its route */
  prune(): { route: string; endpoint: Endpoint }[] {
    const pruned: { route: string; endpoint: Endpoint }[] = [];
    for (const [route, pool] of this.pools) {
      for (const endpoint of pool.prune(this.options.staleThresholdSeconds)) pruned.push({ route, endpoint });
      if (pool.size === 0) this.pools.delete(route);
    }
    return pruned;
  }

  /** After an outage of the message bus, when nobody could refresh. */
  refreshAll(): void {
    for (const pool of this.pools.values()) pool.refreshAll();
  }

  /** As `GET /routes` shows the table. */
  describe(): Record<string, Record<string, unknown>[]> {
    const { staleThresholdSeconds } = this.options;
    return Object.fromEntries(
      [...this.pools].map(([route, pool]) => [
        route,
        pool.list().map(({ endpoint }) => ({
          address: addressOf(endpoint),
          availability_zone: endpoint.availabilityZone,
          protocol: 'http1',
          tls: endpoint.isTls,
          ttl: endpoint.staleThresholdSeconds || staleThresholdSeconds,
          tags: endpoint.tags,
          ...(endpoint.instanceId && { private_instance_id: endpoint.instanceId }),
          ...(endpoint.serverName && { server_cert_domain_san: endpoint.serverName }),
        })),
      ]),
    );
  }
}

/** Lower case, without query and trailing slash. */
function routeKey(uri: string): string {
  const [withoutQuery = ''] = uri.split('?');
  return withoutQuery.replace(/\/$/, '').toLowerCase();
}

function contextPathOf(key: string): string {
  const position = key.indexOf('/');
  return position < 0 ? '/' : key.slice(position);
}

/** `a.b.c`, then `*.b.c`, then `*.c`. */
function* hostCandidates(host: string): Generator<string> {
  yield host;
  for (let rest = host; rest.includes('.'); ) {
    rest = rest.slice(rest.indexOf('.') + 1);
    yield `*.${rest}`;
  }
}
