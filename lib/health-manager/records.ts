/** A state that an agent reports; others are kept and match no rule (docs/protocol/health-manager.md §2.1). */
export type ReportedState = string;

/** One instance, as the DEA that owns it reported it last. */
export interface InstanceHeartbeat {
  /** Unique over all DEAs. */
  instance: string;
  app: string;
  version: string;
  /** 0-based. */
  index: number;
  state: ReportedState;
  /** Unix seconds, one decimal. */
  stateTimestamp: number;
  dea: string;
}

/** What one agent said: its full list of instances. */
export interface Heartbeat {
  dea: string;
  instances: InstanceHeartbeat[];
  /** Instances of entries that could not be read: what is known of them stays as it is. */
  illegible: string[];
}

export type PackageState = 'STAGED' | 'PENDING';

/** An app-version that the Cloud Controller wants: its state is STARTED. */
export interface DesiredApp {
  app: string;
  version: string;
  instances: number;
  packageState: PackageState;
}

/** Crashes of one index, counted when a start for it is queued (docs/protocol/health-manager.md §6.2). */
export interface CrashCount {
  index: number;
  crashCount: number;
  /** Unix seconds of the first crash. */
  createdAt: number;
}

export type StartReason = 'MISSING' | 'CRASHED' | 'EVACUATING';
export type StopReason = 'EXTRA' | 'DUPLICATE' | 'EVACUATION_COMPLETE';

/** What every order that waits has (docs/protocol/health-manager.md §3.3); times in unix seconds. */
export interface PendingMessage {
  messageId: string;
  app: string;
  version: string;
  sendOn: number;
  /** 0 until it was sent. */
  sentOn: number;
  /** Seconds for which the sent message keeps others of its key away; 0 deletes it when it is sent. */
  keepAlive: number;
}

export interface PendingStart extends PendingMessage {
  index: number;
  priority: number;
  skipVerification: boolean;
  reason: StartReason;
}

export interface PendingStop extends PendingMessage {
  instance: string;
  reason: StopReason;
}

/** Everything that is known of one version of one app: as it was at a moment, or kept up. */
export interface AppState {
  /** Grows with every change of one that is kept up; undefined: how it was at a moment. */
  readonly revision: number | undefined;
  readonly app: string;
  readonly version: string;
  readonly desired: DesiredApp | undefined;
  readonly instances: ReadonlyMap<string, InstanceHeartbeat>;
  /** By index. */
  readonly crashCounts: ReadonlyMap<number, CrashCount>;
  /** By index. */
  readonly pendingStarts: ReadonlyMap<number, PendingStart>;
  /** By instance. */
  readonly pendingStops: ReadonlyMap<string, PendingStop>;
}

/** Whether anybody wants it or runs it: there may be crash counts and orders of other apps as well. */
export function isKnown({ desired, instances }: Pick<AppState, 'desired' | 'instances'>): boolean {
  return desired !== undefined || instances.size > 0;
}

/** Whether it fills its index. */
export function isLive({ state }: InstanceHeartbeat): boolean {
  return state === 'RUNNING' || state === 'STARTING';
}
