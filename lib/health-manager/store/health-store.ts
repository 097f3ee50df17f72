import type { Freshness } from '../decisions/freshness.js';
import type {
  AppState,
  CrashCount,
  DesiredApp,
  Heartbeat,
  InstanceHeartbeat,
  PendingStart,
  PendingStop,
} from '../records.js';

export interface AppVersion {
  app: string;
  version: string;
}

/** A crash count with the app that it belongs to. */
export interface AppCrashCount extends AppVersion, CrashCount {}

/**
 * What an agent sent, unpacked only where that is needed: nearly every heartbeat repeats the one before, byte for byte.
 */
export interface ReceivedHeartbeat {
  readonly dea: string;
  /** Whether the agent's last saved heartbeat said the same. */
  readonly isRepeated: boolean;
  read(): Heartbeat;
}

/** What one analysis adds. */
export interface NewOrders {
  crashCounts: AppCrashCount[];
  starts: PendingStart[];
  stops: PendingStop[];
}

/** What became of orders in a send pass; an order that was replaced meanwhile (another `messageId`) stays as it is. */
export interface SendResult {
  /** With their new `sentOn`. */
  sentStarts: PendingStart[];
  sentStops: PendingStop[];
  deletedStarts: PendingStart[];
  deletedStops: PendingStop[];
}

/** How long things are believed; seconds. */
export interface StoreTimes {
  /** A DEA that is silent for so long is gone, with its instances. */
  heartbeatTtl: number;
  /** Age that the actual state needs to be fresh, and time after which it is not without heartbeats. */
  actualFreshnessTtl: number;
  desiredFreshnessTtl: number;
  crashCountTtl: number;
}

/** One thing that a store keeps, as it stands there: for people who look for a fault. */
export interface RawEntry {
  key: string;
  /** Seconds until it ends; undefined: never by itself. */
  ttl: number | undefined;
  value: string;
}

/**
 * What health managers know, by itself or shared among several (docs/protocol/health-manager.md §3.4). Every method
 * rejects when the store cannot be reached; what it resolves for is kept.
 */
export interface HealthStore {
  /** @throws when the store cannot be reached */
  start(): Promise<void>;
  /** Idempotent. */
  stop(): Promise<void>;
  /** Unix seconds by the store's clock, which all who share it go by. */
  now(): Promise<number>;

  /**
   * Takes over the full lists of instances of some DEAs, at most one list of each, and renews their presence. An
   * instance belongs to the DEA that listed it last.
   *
   * @returns instances that are EVACUATING now and were neither that nor CRASHED before
   */
  saveHeartbeats(heartbeats: ReceivedHeartbeat[]): Promise<InstanceHeartbeat[]>;
  /** The actual state is being kept up. */
  bumpActual(): Promise<void>;
  /** The actual state has a gap: nothing is to be concluded from it for a while. */
  revokeActual(): Promise<void>;
  /** Replaces the desired state, and makes it fresh. */
  syncDesired(apps: DesiredApp[]): Promise<void>;
  freshness(): Promise<Freshness>;

  /** App-versions that are desired or have an instance; undefined for others. */
  getApps(wanted: AppVersion[]): Promise<(AppState | undefined)[]>;
  /** Every app-version of which anything is known, crash counts and waiting orders included. */
  forEachApp(visit: (app: AppState) => void): Promise<void>;

  saveOrders(orders: NewOrders): Promise<void>;
  pendingStarts(): Promise<PendingStart[]>;
  pendingStops(): Promise<PendingStop[]>;
  commitSendResult(result: SendResult): Promise<void>;

  /**
   * Nobody stops instances of an app for want of a desired state while it is being handed to the other control plane;
   * the hold ends by itself (docs/protocol/health-manager.md §14).
   */
  holdApp(app: string, seconds: number): Promise<void>;
  releaseApp(app: string): Promise<void>;
  /** Guids of the apps that are held. */
  heldApps(): Promise<ReadonlySet<string>>;

  saveMetrics(metrics: Record<string, number>): Promise<void>;
  metrics(): Promise<Record<string, number>>;
  /** Removes what nobody reads any more (docs/protocol/health-manager.md §11, `shred`). */
  compact(): Promise<void>;
  /** Everything, in no order; the names and values are the store's own. */
  rawEntries(): AsyncIterable<RawEntry>;
}
