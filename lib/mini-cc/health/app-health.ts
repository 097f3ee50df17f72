import type { AppState } from '../messages.js';

/** A crashed instance as `/crashes` shows it; `since` in seconds. */
export interface CrashEntry {
  instance: string;
  since: number;
}

/**
 * How many of the wished indices run or start (docs/protocol/legacy-cc.md §6.3). Pure.
 * @returns undefined when the health manager does not know
 */
export function runningCount({ instance_heartbeats: heartbeats }: AppState, instances: number): number | undefined {
  if (!heartbeats) return undefined;
  const indices = heartbeats.filter(isLive).map(({ index }) => index);
  return new Set(indices.filter((index) => index >= 0 && index < instances)).size;
}

/** The crashed instances, of every index. Pure. */
export function crashesOf({ instance_heartbeats: heartbeats }: AppState): CrashEntry[] {
  const crashed = (heartbeats ?? []).filter(({ state }) => state === 'CRASHED');
  return crashed.map(({ instance, state_timestamp: since }) => ({ instance, since }));
}

/**
 * The indices that crash again and again, with the time of the first crash in seconds (docs/protocol/health-manager.md
 * §8.1). One that lives at this moment is none. Pure.
 *
 * @param threshold crashes that make an index a flapping one
 */
export function flappingIndices(
  { instance_heartbeats: heartbeats, crash_counts: counts }: AppState,
  threshold: number,
): Map<number, number> {
  const live = new Set((heartbeats ?? []).filter(isLive).map(({ index }) => index));
  const flapping = (counts ?? []).filter(
    ({ instance_index: index, crash_count: count }) => count >= threshold && !live.has(index),
  );
  return new Map(flapping.map(({ instance_index: index, created_at: since }) => [index, since]));
}

function isLive({ state }: { state: string }): boolean {
  return state === 'RUNNING' || state === 'STARTING';
}
