import type { InstanceState } from './messages.js';

/** A sum that only grows, by the value of one label. */
type Counts = Map<string, number>;

/** Calls of the container engine by method: how many, how many failed, and their time together, seconds. */
export interface EngineCalls {
  count: number;
  failed: number;
  seconds: number;
}

/** Upper bounds of the classes that stagings' durations are counted in, seconds. */
export const stagingDurationBounds = [5, 15, 30, 60, 120, 300, 600, 900] as const;

/**
 * What the agent has done since it began, as counters: others tell it, and operators read it (docs/protocol/dea.md §21.2,
 * §22.3).
 */
export class Activity {
  readonly heartbeatsSent: Counts = new Map();
  readonly heartbeatsFailed: Counts = new Map();
  readonly engineCalls = new Map<string, EngineCalls>();
  /** Instances that have entered a state, by state. */
  readonly transitions: Counts = new Map();
  readonly stagings = { ok: 0, failed: 0, seconds: 0, byBound: stagingDurationBounds.map(() => 0) };

  /** A heartbeat went over `transport`, or failed to. */
  heartbeat(transport: 'nats' | 'https', isSent = true): void {
    add(isSent ? this.heartbeatsSent : this.heartbeatsFailed, transport);
  }

  /** An instance entered a state. */
  instanceEntered(state: InstanceState): void {
    add(this.transitions, state);
  }

  /** A staging task that was taken is over. */
  stagingEnded(seconds: number, isOk: boolean): void {
    const { stagings } = this;
    stagings[isOk ? 'ok' : 'failed'] += 1;
    stagings.seconds += seconds;
    stagingDurationBounds.forEach((bound, position) => {
      if (seconds <= bound) stagings.byBound[position]! += 1;
    });
  }

  /** A call of the engine is over. */
  engineCalled(method: string, seconds: number, isOk: boolean): void {
    const calls = this.engineCalls.get(method) ?? { count: 0, failed: 0, seconds: 0 };
    calls.count += 1;
    calls.seconds += seconds;
    if (!isOk) calls.failed += 1;
    this.engineCalls.set(method, calls);
  }

  /** All calls of the engine together. */
  get engineTotal(): EngineCalls {
    const total = { count: 0, failed: 0, seconds: 0 };
    for (const { count, failed, seconds } of this.engineCalls.values()) {
      total.count += count;
      total.failed += failed;
      total.seconds += seconds;
    }
    return total;
  }
}

function add(counts: Counts, label: string): void {
  counts.set(label, (counts.get(label) ?? 0) + 1);
}
