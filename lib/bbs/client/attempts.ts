import { setTimeout as delay } from 'node:timers/promises';
import { ApplicationError, CallError, EndpointNotFound, PeerUnreachable } from './errors.js';

export interface AttemptRules {
  /** At most so many, at least 1. */
  attempts: number;
  /** Between two of them. Milliseconds. */
  pauseMs: number;
}

/**
 * Tries again after failures that may pass (docs/protocol/bbs.md §1): a call may so reach the BBS twice.
 *
 * @throws what the last attempt threw; the signal's reason
 */
export async function withAttempts<Result>(
  { attempts, pauseMs }: AttemptRules,
  signal: AbortSignal | undefined,
  attempt: () => Promise<Result>,
): Promise<Result> {
  for (let left = attempts - 1; ; left -= 1) {
    try {
      return await attempt();
    } catch (error) {
      if (left <= 0 || !mayPass(error)) throw error;
    }
    await pause(pauseMs, signal);
  }
}

/** @throws the signal's reason when it aborts meanwhile */
export async function pause(ms: number, signal: AbortSignal | undefined): Promise<void> {
  try {
    await delay(ms, undefined, signal && { signal });
  } catch (error) {
    signal?.throwIfAborted();
    throw error;
  }
}

/** The BBS's own no, and a route that it does not have, stay what they are; upstream asks for the latter again, too. */
function mayPass(error: unknown): boolean {
  if (error instanceof ApplicationError || error instanceof EndpointNotFound) return false;
  return error instanceof CallError || error instanceof PeerUnreachable;
}
