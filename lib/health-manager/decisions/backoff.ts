export interface BackoffSettings {
  crashesBeforeBackoff: number;
  /** Seconds. */
  startingDelay: number;
  /** Seconds. */
  maximumDelay: number;
}

/**
 * Seconds to wait before an index that has crashed `crashCount` times before is started again: none at first, then
 * doubling up to a limit (docs/protocol/health-manager.md §6.2).
 */
export function backoffDelay(crashCount: number, settings: BackoffSettings): number {
  const { crashesBeforeBackoff, startingDelay, maximumDelay } = settings;
  if (crashCount < crashesBeforeBackoff) return 0;
  const lastDoubling = Math.trunc(Math.log2(maximumDelay / startingDelay) + crashesBeforeBackoff);
  if (crashCount > lastDoubling) return maximumDelay;
  return startingDelay * 2 ** (crashCount - crashesBeforeBackoff);
}
