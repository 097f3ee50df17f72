import { setTimeout as sleep } from 'node:timers/promises';

export interface WaitOptions {
  /** Gives up after so long. */
  timeoutMs: number;
  /** First pause between two looks; doubles up to `maximumPauseMs`. @default 1 */
  firstPauseMs?: number;
  /** @default 20 */
  maximumPauseMs?: number;
}

/**
 * Looks again and again, with growing pauses, until the condition holds.
 *
 * @returns whether it held in time
 */
export async function waitUntil(condition: () => boolean | Promise<boolean>, options: WaitOptions): Promise<boolean> {
  const { timeoutMs, firstPauseMs = 1, maximumPauseMs = 20 } = options;
  const deadline = performance.now() + timeoutMs;
  let pauseMs = firstPauseMs;
  while (!(await condition())) {
    if (performance.now() >= deadline) return false;
    await sleep(pauseMs);
    pauseMs = Math.min(pauseMs * 2, maximumPauseMs);
  }
  return true;
}
