import type { InstanceState } from '../messages.js';

export interface InstanceClocks {
  /** Milliseconds since 1970, for peers. */
  clock: () => number;
  /** Milliseconds of a clock that nobody sets, for ages and deadlines. */
  monotonicClock: () => number;
}

/**
 * When an instance entered its states. What goes over a wire is the time of day; ages are taken from a monotonic clock,
 * so that a clock that is set ends no crash's lifetime and no stop's patience.
 */
export class InstanceTimes {
  private readonly enteredAtMs = new Map<InstanceState, number>();
  private enteredMonotonicMs = 0;
  private startedMonotonicMs: number | undefined;

  constructor(private readonly clocks: InstanceClocks) {}

  /** Notes that a state is entered now. */
  enter(state: InstanceState): void {
    this.enteredAtMs.set(state, this.clocks.clock());
    this.enteredMonotonicMs = this.clocks.monotonicClock();
  }

  /** Notes that the instance is started now, whatever its state is. */
  markStarted(): void {
    this.enteredAtMs.set('STARTING', this.clocks.clock());
    this.startedMonotonicMs = this.clocks.monotonicClock();
  }

  /** Takes the start over that an earlier agent noted, milliseconds since 1970. */
  restoreStart(startedAtMs: number): void {
    this.enteredAtMs.set('STARTING', startedAtMs);
    const ageMs = Math.max(0, this.clocks.clock() - startedAtMs);
    this.startedMonotonicMs = this.clocks.monotonicClock() - ageMs;
  }

  /** When a state that was entered was entered last, milliseconds since 1970. */
  since(state: InstanceState): number {
    return this.enteredAtMs.get(state)!;
  }

  /** The states that were entered, each with the time it was entered last, milliseconds since 1970. */
  get entered(): [state: InstanceState, timeMs: number][] {
    return [...this.enteredAtMs];
  }

  /** Milliseconds since 1970; undefined before the start. */
  get startedAtMs(): number | undefined {
    return this.enteredAtMs.get('STARTING');
  }

  /** Milliseconds since the state was entered last. */
  get stateAgeMs(): number {
    return this.clocks.monotonicClock() - this.enteredMonotonicMs;
  }

  /** Milliseconds since the start; 0 before it. */
  get uptimeMs(): number {
    return this.startedMonotonicMs === undefined ? 0 : this.clocks.monotonicClock() - this.startedMonotonicMs;
  }
}
