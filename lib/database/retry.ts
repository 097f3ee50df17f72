import { setTimeout as delay } from 'node:timers/promises';
import { isPassing } from './errors.js';

export interface RetryOptions {
  /** @default 3 (docs/protocol/bbs.md §15, Transactions) */
  attempts?: number;
  /** @default 500 */
  pauseMs?: number;
  /** Ends the waiting: the last error comes out at once. */
  signal: AbortSignal;
}

/** Tries again what failed for a passing reason. @throws the last error */
export async function retrying<T>(attempt: () => Promise<T>, options: RetryOptions): Promise<T> {
  const { attempts = 3, pauseMs = 500, signal } = options;
  for (let count = 1; ; count += 1) {
    try {
      return await attempt();
    } catch (error) {
      if (!isPassing(error) || count >= attempts || signal.aborted) throw error;
      await delay(pauseMs, undefined, { signal }).catch(() => {
        throw error;
      });
    }
  }
}
