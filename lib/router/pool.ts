import type { BalancingAlgorithm, Endpoint } from './messages.js';

export interface PoolOptions {
  /** Path of the route, `/` when it has none. */
  contextPath: string;
  /** For endpoints whose registration asks for none. */
  balancing: BalancingAlgorithm;
  /** Exchanges that an endpoint may have at a time; 0: any number. */
  maximumConnections: number;
  /** Milliseconds since 1970. */
  clock: () => number;
  /** From 0 up to, without, 1. */
  random: () => number;
}

interface Entry {
  endpoint: Endpoint;
  refreshedMs: number;
  /** A failure keeps the endpoint out of the choice until then. */
  ineligibleUntilMs: number;
  /** Exchanges that are going on. */
  inFlight: number;
}

export interface Selection {
  /** Addresses that were tried in vain. */
  tried: ReadonlySet<string>;
  /** Leaves others out. @default all are accepted */
  accepts?: ((endpoint: Endpoint) => boolean) | undefined;
}

/** Identity of an endpoint within its pool. */
export function addressOf({ host, port }: Pick<Endpoint, 'host' | 'port'>): string {
  return `${host}:${port}`;
}

/** The endpoints of one route, and whose turn it is (docs/protocol/edge.md §1.4, §1.5). */
export class Pool {
  private readonly entries = new Map<string, Entry>();
  private latest: Pick<Endpoint, 'routeServiceUrl' | 'balancing'> = { routeServiceUrl: '', balancing: undefined };
  private turn: number;
  private emptiedMs: number;

  constructor(private readonly options: PoolOptions) {
    this.turn = Math.floor(options.random() * 1_000_000);
    this.emptiedMs = options.clock();
  }

  get contextPath(): string {
    return this.options.contextPath;
  }

  get isEmpty(): boolean {
    return this.entries.size === 0;
  }

  /** How long it has been empty; 0 while it is not. */
  get emptyMs(): number {
    return this.isEmpty ? this.options.clock() - this.emptiedMs : 0;
  }

  /** Empty when the route is bound to no route service. The latest registration decides. */
  get routeServiceUrl(): string {
    return this.latest.routeServiceUrl;
  }

  /** Adds an endpoint, or renews and refreshes it. @returns whether its address is new */
  put(endpoint: Endpoint): boolean {
    const known = this.entries.get(addressOf(endpoint));
    this.latest = endpoint;
    this.entries.set(addressOf(endpoint), {
      endpoint,
      refreshedMs: this.options.clock(),
      ineligibleUntilMs: known?.ineligibleUntilMs ?? 0,
      inFlight: known?.inFlight ?? 0,
    });
    return known === undefined;
  }

  /** @returns whether it was there */
  remove(endpoint: Pick<Endpoint, 'host' | 'port'>): boolean {
    const wasThere = this.entries.delete(addressOf(endpoint));
    if (wasThere && this.isEmpty) this.emptiedMs = this.options.clock();
    return wasThere;
  }

  list(): Endpoint[] {
    return [...this.entries.values()].map(({ endpoint }) => endpoint);
  }

  /**
   * The endpoint whose turn it is, among those that were not tried and are not at their limit. Those that failed
   * lately come into question when there is no other; when all have failed, all get a new chance.
   */
  select({ tried, accepts }: Selection): Endpoint | undefined {
    const nowMs = this.options.clock();
    const entries = [...this.entries.values()];
    if (entries.every(({ ineligibleUntilMs }) => ineligibleUntilMs > nowMs)) this.forgive();
    const possible = entries.filter(
      (entry) => !tried.has(addressOf(entry.endpoint)) && !this.isFull(entry) && (!accepts || accepts(entry.endpoint)),
    );
    const eligible = possible.filter(({ ineligibleUntilMs }) => ineligibleUntilMs <= nowMs);
    return this.choose(eligible.length > 0 ? eligible : possible)?.endpoint;
  }

  /** An endpoint by what it is, not by turn; undefined when it is at its limit. */
  find(accepts: (endpoint: Endpoint) => boolean): Endpoint | undefined {
    for (const entry of this.entries.values()) {
      if (accepts(entry.endpoint) && !this.isFull(entry)) return entry.endpoint;
    }
    return undefined;
  }

  /** Counts an exchange until the returned function is called; that may be done more than once. */
  begin(endpoint: Endpoint): () => void {
    const address = addressOf(endpoint);
    const entry = this.entries.get(address);
    if (entry) entry.inFlight += 1;
    let isDone = false;
    return () => {
      if (isDone) return;
      isDone = true;
      // A renewed entry has taken the count over.
      const current = this.entries.get(address);
      if (current && current.inFlight > 0) current.inFlight -= 1;
    };
  }

  /** Leaves an endpoint out of the choice for a time. */
  markFailed(endpoint: Endpoint, forMs: number): void {
    const entry = this.entries.get(addressOf(endpoint));
    if (entry) entry.ineligibleUntilMs = this.options.clock() + forMs;
  }

  /** Drops what was not refreshed in time. Encrypted endpoints prove themselves at each connection, and stay. */
  prune(thresholdSeconds: number): Endpoint[] {
    const nowMs = this.options.clock();
    const stale = [...this.entries.values()]
      .filter(({ endpoint, refreshedMs }) => {
        return !endpoint.isTls && nowMs - refreshedMs > thresholdOf(endpoint, thresholdSeconds) * 1000;
      })
      .map(({ endpoint }) => endpoint);
    for (const endpoint of stale) this.remove(endpoint);
    return stale;
  }

  /** Makes all endpoints as good as just registered. */
  refreshAll(): void {
    for (const entry of this.entries.values()) entry.refreshedMs = this.options.clock();
  }

  private choose(entries: Entry[]): Entry | undefined {
    if (entries.length === 0) return undefined;
    if ((this.latest.balancing ?? this.options.balancing) === 'least-connection') {
      const least = Math.min(...entries.map(({ inFlight }) => inFlight));
      const idlest = entries.filter(({ inFlight }) => inFlight === least);
      return idlest[Math.floor(this.options.random() * idlest.length)];
    }
    this.turn += 1;
    return entries[this.turn % entries.length];
  }

  private isFull({ inFlight }: Entry): boolean {
    const { maximumConnections } = this.options;
    return maximumConnections > 0 && inFlight >= maximumConnections;
  }

  private forgive(): void {
    for (const entry of this.entries.values()) entry.ineligibleUntilMs = 0;
  }
}

/** An endpoint can only shorten the router's threshold. */
export function thresholdOf({ staleThresholdSeconds: own }: Endpoint, routersSeconds: number): number {
  return own > 0 && own < routersSeconds ? own : routersSeconds;
}
