import { setTimeout as delay } from 'node:timers/promises';
import { Analyzer } from '../../lib/health-manager/analyzer.js';
import { NotFreshError } from '../../lib/health-manager/decisions/freshness.js';
import type { MassStopGuard } from '../../lib/health-manager/decisions/mass-stop-guard.js';
import { StartBudget } from '../../lib/health-manager/decisions/start-budget.js';
import { VersionChangeHolds } from '../../lib/health-manager/decisions/version-change.js';
import { Listener } from '../../lib/health-manager/heartbeats/listener.js';
import { EvacuationStarts } from '../../lib/health-manager/orders/evacuation-starts.js';
import { OrdersRefusedError, Sender } from '../../lib/health-manager/orders/sender.js';
import type { OrderTransport, StartOrder, StopOrder } from '../../lib/health-manager/orders/transport.js';
import type { DesiredApp } from '../../lib/health-manager/records.js';
import type { HealthStore } from '../../lib/health-manager/store/health-store.js';
import { silentLogger } from '../../lib/logging/logger.js';
import { Metrics } from '../../lib/metrics/metrics.js';

/** An instance as an agent of the world reports it. */
export interface Reported {
  app: string;
  version?: string;
  instance: string;
  index?: unknown;
  state?: string;
  since?: number;
}

export interface WorldOptions {
  store: HealthStore;
  /** Lets that many seconds pass for the store. */
  advance(seconds: number): Promise<void>;
  startsPerPass?: number;
  /** @default none that counts */
  startBudget?: StartBudget;
  guard?: MassStopGuard;
  versionChangeHoldSeconds?: number;
  /** Takes orders, in the place of the world itself. */
  transport?: OrderTransport;
}

export const version = 'v1';
const settings = { gracePeriod: 30, crashesBeforeBackoff: 3, startingDelay: 30, maximumDelay: 960 };

/**
 * Agents, a Cloud Controller and a health manager without its timers: time passes by ticks of ten seconds, in each of
 * which all agents send their heartbeats and one analysis is made (docs/protocol/health-manager.md §13).
 */
export class HealthWorld {
  readonly metrics = new Metrics();
  listener: Listener;
  readonly evacuationStarts: EvacuationStarts;
  /** What agents report, by DEA; those that are not in it are silent. */
  readonly agents = new Map<string, Reported[]>();
  desired: DesiredApp[] = [];
  /** Nothing can be fetched from the Cloud Controller. */
  isControllerDown = false;
  /** Orders since the last `forget`. */
  starts: StartOrder[] = [];
  stops: StopOrder[] = [];
  /** Makes the Cloud Controller refuse what it returns a reason for. */
  refuses: (order: StartOrder | StopOrder) => string | undefined = () => undefined;
  private readonly sender: Sender;
  private readonly analyzer: Analyzer;

  constructor(private readonly options: WorldOptions) {
    const { store, startsPerPass = 60, guard, versionChangeHoldSeconds: holdSeconds } = options;
    const isHoldingStops = () => guard?.isHolding === true;
    this.sender = new Sender({
      store,
      transport: options.transport ?? {
        start: async (order) => this.take(order, this.starts),
        stop: async (order) => this.take(order, this.stops),
      },
      startsPerPass,
      longestDelay: 2 * settings.maximumDelay,
      startBudget: options.startBudget ?? new StartBudget({ perSecond: 0, burst: startsPerPass }),
      isHoldingStops,
      metrics: this.metrics,
      logger: silentLogger,
    });
    this.analyzer = new Analyzer({
      store,
      settings,
      isHoldingStops,
      ...(holdSeconds !== undefined && { versionChangeHolds: new VersionChangeHolds(holdSeconds) }),
      metrics: this.metrics,
    });
    this.evacuationStarts = new EvacuationStarts({
      store,
      sender: this.sender,
      gracePeriod: settings.gracePeriod,
      logger: silentLogger,
    });
    this.listener = this.makeListener();
  }

  /** Another listener in the place of this one, as after a restart of its process. */
  restartListener(): void {
    this.listener = this.makeListener();
  }

  /** Replaces what is wanted of an app. */
  desire(app: string, instances: number, more: Partial<DesiredApp> = {}): void {
    this.desired = this.desired.filter((known) => known.app !== app);
    this.desired.push({ app, version, instances, packageState: 'STAGED', ...more });
  }

  /** Replaces what an agent reports. */
  report(dea: string, ...instances: Reported[]): void {
    this.agents.set(dea, instances);
  }

  /** Sends the agents' heartbeats, and fetches what is desired. */
  async heartbeats(): Promise<void> {
    for (const [dea, instances] of this.agents) this.listener.receiveOrDrop(heartbeat(dea, instances));
    await this.listener.flush();
    if (!this.isControllerDown) await this.options.store.syncDesired(this.desired);
  }

  /** @returns whether the state was fresh */
  async pass(): Promise<boolean> {
    try {
      await this.analyzer.analyze();
      await this.sender.send();
      return true;
    } catch (error) {
      if (error instanceof NotFreshError) return false;
      if (error instanceof OrdersRefusedError) return true;
      throw error;
    }
  }

  async tick(count = 1): Promise<void> {
    for (let done = 0; done < count; done += 1) {
      await this.options.advance(10);
      await this.heartbeats();
      await this.pass();
    }
  }

  /** Lets time pass until the state is fresh, and forgets what was ordered meanwhile. */
  async becomeFresh(): Promise<void> {
    await this.heartbeats();
    await this.tick(4);
    this.forget();
  }

  /** An old agent says that an instance is about to go. */
  async leave(app: string, index: number): Promise<void> {
    await this.evacuationStarts.order([{ app, version, index }], this.metrics);
  }

  forget(): void {
    this.starts = [];
    this.stops = [];
  }

  /** `app index` of each start since the last `forget`, sorted. */
  get started(): string[] {
    return this.starts.map(({ droplet, instance_index }) => `${droplet} ${instance_index}`).sort();
  }

  /** `instance` of each stop, with `duplicate` where it was told so, sorted. */
  get stopped(): string[] {
    return this.stops
      .map(({ instance_guid, is_duplicate }) => `${instance_guid}${is_duplicate ? ' duplicate' : ''}`)
      .sort();
  }

  private makeListener(): Listener {
    return new Listener({
      store: this.options.store,
      evacuationStarts: this.evacuationStarts,
      metrics: this.metrics,
      flushIntervalMs: 1000,
      slowSaveMs: 10_000,
      logger: silentLogger,
    });
  }

  private async take<Order extends StartOrder | StopOrder>(order: Order, taken: Order[]): Promise<void> {
    // As over a network: what others do meanwhile comes in between.
    await delay(0);
    const reason = this.refuses(order);
    if (reason !== undefined) throw new Error(reason);
    taken.push(order);
  }
}

/** The bytes of a heartbeat. */
export function heartbeat(dea: unknown, instances: Reported[]): Uint8Array {
  const droplets = instances.map(({ app, version: reported = version, instance, index = 0, state, since }) => ({
    cc_partition: 'default',
    droplet: app,
    version: reported,
    instance,
    index,
    state: state ?? 'RUNNING',
    state_timestamp: since ?? 1435672356.4512,
  }));
  return Buffer.from(JSON.stringify({ dea, droplets }));
}
