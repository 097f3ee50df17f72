/** The two kinds of resources; they differ only in what a client does when it loses one (docs/protocol/edge.md §6.2). */
export const resourceTypes = ['lock', 'presence'] as const;
export type ResourceType = (typeof resourceTypes)[number];

/** What is held: under one key one owner at a time, locks and presences in one space of names. */
export interface Resource {
  readonly key: string;
  readonly owner: string;
  readonly value: string;
  readonly type: ResourceType;
}

/** The key is the owner's for the ttl that was asked for. */
export interface Grant {
  /**
   * Fencing token: a positive integer below 2^53 that grows with each grant of a key and stays the same in renewals
   * (docs/protocol/edge.md §8.1). Undefined where an upstream Locket granted, which has none.
   */
  readonly token: number | undefined;
}

/** What a store grants. */
export interface StoreGrant extends Grant {
  readonly token: number;
  /** 1 for a new grant, and one more for each renewal. */
  readonly index: number;
}

export interface CallOptions {
  /** Limit of the call, in milliseconds. @default the one of whom it is made to */
  timeoutMs?: number;
  /** Names the call in the logs of both sides. @default a new UUID */
  requestId?: string;
}

/** Locks and presences, wherever they are kept: in this process (`LockStore`) or in a Locket (`LocketClient`). */
export interface Locks {
  /**
   * Takes a key for so long, or renews it: value, type and ttl become the given ones.
   *
   * @throws LockCollision when another owner has the key, LocksUnavailable when nobody can tell
   */
  acquire(resource: Resource, ttlMs: number, options?: CallOptions): Promise<Grant>;
  /**
   * Gives a key back. One that nobody has is no error.
   *
   * @throws LockCollision when another owner has it, LocksUnavailable
   */
  release(key: string, owner: string, options?: CallOptions): Promise<void>;
  /** @throws LocksUnavailable */
  fetch(key: string, options?: CallOptions): Promise<Resource | undefined>;
  /** All that are held, in no order. @throws LocksUnavailable */
  list(type: ResourceType, options?: CallOptions): Promise<Resource[]>;
}

/** A holder fell silent, and its key was taken from it. */
export interface Expiry {
  readonly key: string;
  readonly type: ResourceType;
}

/** Keeps locks and presences, by one clock (docs/protocol/edge.md §8). */
export interface LockStore extends Locks {
  acquire(resource: Resource, ttlMs: number, options?: CallOptions): Promise<StoreGrant>;
  count(type: ResourceType): Promise<number>;
  /**
   * Hears of keys that expire; of each one process hears once, however many share the store.
   *
   * @returns stops listening
   */
  onExpired(listener: (expiry: Expiry) => void): () => void;
  /** @throws when the store cannot be used */
  start(): Promise<void>;
  /** Idempotent. Leaves what is held as it is. */
  stop(): Promise<void>;
}

/** Another owner has the key. */
export class LockCollision extends Error {
  override readonly name = 'LockCollision';

  /** @param owner who has it, where that is known */
  constructor(
    readonly key: string,
    readonly owner?: string,
  ) {
    super(owner === undefined ? `${key} is held by another owner` : `${key} is held by ${owner}`);
  }
}

/** Whether a key is held cannot be told now. */
export class LocksUnavailable extends Error {
  override readonly name = 'LocksUnavailable';
}
