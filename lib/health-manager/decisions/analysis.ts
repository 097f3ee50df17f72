import type { PendingStart, PendingStop, StartReason, StopReason } from '../records.js';
import { type AppState, type CrashCount, type InstanceHeartbeat, isLive } from '../records.js';
import { type BackoffSettings, backoffDelay } from './backoff.js';

export interface AnalysisSettings extends BackoffSettings {
  /** Seconds that a missing instance is waited for. */
  gracePeriod: number;
}

export interface AnalysisContext {
  settings: AnalysisSettings;
  /** Unix seconds. */
  now: number;
  newMessageId(): string;
}

/** What an analysis wants to be kept in the store: orders that wait for their time, and crash counts that grew. */
export interface Findings {
  starts: PendingStart[];
  stops: PendingStop[];
  crashCounts: CrashCount[];
  /** Starts that wait for nothing any more. */
  outdated: PendingStart[];
}

/** Above those of all wanted instances, which are at most 1. */
export const evacuationPriority = 2;

const nothing: Findings = { starts: [], stops: [], crashCounts: [], outdated: [] };

/**
 * Compares what is wanted of one version of an app with what its DEAs report
 * (docs/protocol/health-manager.md §6.1). An order whose key has a waiting or recently sent one already is not found
 * again.
 */
export function analyze(app: AppState, context: AnalysisContext): Findings {
  if (isSteady(app)) return nothing;
  return new Analysis(app, context).run();
}

/** Whether each wanted index has exactly one live instance, and there is no other nor a start: the case of nearly all apps. */
function isSteady({ desired, instances, pendingStarts }: AppState): boolean {
  if (pendingStarts.size > 0 || instances.size !== (desired?.instances ?? 0)) return false;
  const taken = new Set<number>();
  for (const instance of instances.values()) {
    if (!isLive(instance) || instance.index >= instances.size) return false;
    taken.add(instance.index);
  }
  return taken.size === instances.size;
}

/** What is reported of one index. */
interface IndexReport {
  live: InstanceHeartbeat[];
  evacuating: InstanceHeartbeat[];
  isCrashed: boolean;
}

class Analysis {
  readonly #reports = new Map<number, IndexReport>();
  /** Within one analysis a later order replaces an earlier one of its key. */
  readonly #starts = new Map<number, PendingStart>();
  readonly #stops = new Map<string, PendingStop>();
  readonly #crashCounts: CrashCount[] = [];
  readonly #wanted: number;
  readonly #isStaged: boolean;
  readonly #hasLiveInstance: boolean;
  /** The share of wanted indices that nothing fills. */
  readonly #priority: number;

  constructor(
    private readonly app: AppState,
    private readonly context: AnalysisContext,
  ) {
    this.#wanted = app.desired?.instances ?? 0;
    this.#isStaged = app.desired?.packageState === 'STAGED';
    for (const instance of app.instances.values()) this.#note(instance);
    const filled = [...this.#reports].filter(([, { live }]) => live.length > 0);
    this.#hasLiveInstance = filled.length > 0;
    const filledWanted = filled.filter(([index]) => index < this.#wanted).length;
    this.#priority = this.#wanted === 0 ? 0 : (this.#wanted - filledWanted) / this.#wanted;
  }

  run(): Findings {
    if (this.#isStaged) {
      this.#startMissing();
      this.#startCrashed();
    }
    this.#replaceEvacuating();
    // An app that is short of instances keeps those that it has too many of for one more pass.
    if (this.#starts.size === 0) {
      this.#stopExtra();
      this.#stopDuplicates();
    }
    return {
      starts: [...this.#starts.values()],
      stops: [...this.#stops.values()],
      crashCounts: this.#crashCounts,
      outdated: this.#outdated(),
    };
  }

  #note(instance: InstanceHeartbeat): void {
    let report = this.#reports.get(instance.index);
    if (!report) {
      report = { live: [], evacuating: [], isCrashed: false };
      this.#reports.set(instance.index, report);
    }
    if (isLive(instance)) report.live.push(instance);
    else if (instance.state === 'EVACUATING') report.evacuating.push(instance);
    else if (instance.state === 'CRASHED') report.isCrashed = true;
  }

  /**
   * Nobody has to see a back-off of a quarter of an hour through for an index that is not wanted any more, and find it
   * in the way when it is wanted again (docs/protocol/health-manager.md §14).
   */
  #outdated(): PendingStart[] {
    const waiting = [...this.app.pendingStarts.values()].filter(({ sentOn }) => sentOn === 0);
    return waiting.filter(({ index, skipVerification }) => index >= this.#wanted && !skipVerification);
  }

  #startMissing(): void {
    for (let index = 0; index < this.#wanted; index += 1) {
      const report = this.#reports.get(index);
      if (report && (report.live.length > 0 || report.isCrashed || report.evacuating.length > 0)) continue;
      this.#start(index, 'MISSING', { delay: this.context.settings.gracePeriod, keepAlive: 0 });
    }
  }

  #startCrashed(): void {
    for (const [index, { live, isCrashed }] of this.#reports) {
      if (index >= this.#wanted || live.length > 0 || !isCrashed) continue;
      // An app that crashes everywhere is tried out at one index.
      if (index !== 0 && !this.#hasLiveInstance) continue;
      const count = this.app.crashCounts.get(index);
      const delay = backoffDelay(count?.crashCount ?? 0, this.context.settings);
      if (!this.#start(index, 'CRASHED', { delay })) continue;
      this.#crashCounts.push({
        index,
        crashCount: (count?.crashCount ?? 0) + 1,
        createdAt: count?.createdAt ?? this.context.now,
      });
    }
  }

  #replaceEvacuating(): void {
    for (const [index, { live, evacuating }] of this.#reports) {
      if (evacuating.length === 0) continue;
      if (index >= this.#wanted) {
        this.#stopAll(evacuating, 'EXTRA');
        continue;
      }
      if (!this.#isStaged) this.#stopAll(evacuating, 'EVACUATION_COMPLETE');
      if (live.some(({ state }) => state === 'RUNNING')) {
        this.#stopAll(evacuating, 'EVACUATION_COMPLETE');
        continue;
      }
      if (live.length > 0) continue;
      // An unstable app is not waited for.
      if ((this.app.crashCounts.get(index)?.crashCount ?? 0) > 0) this.#stopAll(evacuating, 'EVACUATION_COMPLETE');
      this.#start(index, 'EVACUATING', { delay: 0, priority: evacuationPriority });
    }
  }

  #stopExtra(): void {
    for (const [index, { live }] of this.#reports) {
      if (index >= this.#wanted) this.#stopAll(live, 'EXTRA');
    }
  }

  /** All of them get an order; the sender lets only the surplus die (docs/protocol/health-manager.md §6.3). */
  #stopDuplicates(): void {
    const { gracePeriod } = this.context.settings;
    for (const [index, { live }] of this.#reports) {
      if (index >= this.#wanted || live.length < 2) continue;
      const youngestFirst = [...live].sort((a, b) => b.stateTimestamp - a.stateTimestamp);
      for (const [position, instance] of youngestFirst.entries()) {
        this.#stop(instance, 'DUPLICATE', gracePeriod * (4 + position));
      }
    }
  }

  #stopAll(instances: InstanceHeartbeat[], reason: StopReason): void {
    for (const instance of instances) this.#stop(instance, reason, 0);
  }

  /** @returns whether the order is new */
  #start(
    index: number,
    reason: StartReason,
    { delay, keepAlive = this.context.settings.gracePeriod, priority = this.#priority }: StartTerms,
  ): boolean {
    if (this.app.pendingStarts.has(index)) return false;
    this.#starts.set(index, {
      ...this.#message(delay, keepAlive),
      index,
      priority,
      skipVerification: false,
      reason,
    });
    return true;
  }

  #stop({ instance }: InstanceHeartbeat, reason: StopReason, delay: number): void {
    if (this.app.pendingStops.has(instance)) return;
    this.#stops.set(instance, { ...this.#message(delay, this.context.settings.gracePeriod), instance, reason });
  }

  #message(delay: number, keepAlive: number) {
    const { now, newMessageId } = this.context;
    const { app, version } = this.app;
    return { messageId: newMessageId(), app, version, sendOn: now + delay, sentOn: 0, keepAlive };
  }
}

/** Seconds. */
interface StartTerms {
  delay: number;
  keepAlive?: number;
  priority?: number;
}
