import type { Logger } from '../../logging/logger.js';
import type { Locks } from '../lock-store.js';

/** What the holder of a lock and that of a presence have in common. */
export interface RunnerOptions {
  /** A store of this process, or a Locket's client. */
  locks: Locks;
  key: string;
  owner: string;
  /** Stored with the key. A function is asked at each renewal. @default empty */
  value?: string | (() => string);
  /** Time that a holder who falls silent keeps the key; over gRPC whole seconds. @default 15000 */
  ttlMs?: number;
  /** Between two attempts to get a key that another has, in milliseconds. @default 1000 */
  retryIntervalMs?: number;
  logger: Logger;
}

/** Gets a key and keeps it, by the holder's rules of docs/protocol/edge.md §8.2. */
export interface Runner {
  /** Returns at once; attempts begin. Idempotent. */
  start(): void;
  /** Resolves when the key is ours for the first time. @throws when the runner is stopped before */
  whenHeld(): Promise<void>;
  /**
   * Whether the key is ours at this moment. To be asked right before each guarded action: after a pause of the process
   * no timer may have fired yet.
   */
  isValid(): boolean;
  /** Fencing token, to go with each guarded action; undefined without the key, or where an upstream Locket keeps it. */
  readonly token: number | undefined;
  /** Gives the key back if it is ours. Idempotent. Guarded work must have ended before. */
  stop(): Promise<void>;
}

export const runnerDefaults = { ttlMs: 15_000, retryIntervalMs: 1000 } as const;

export function valueSource({ value = '' }: Pick<RunnerOptions, 'value'>): () => string {
  return typeof value === 'string' ? () => value : value;
}
