import { randomUUID } from 'node:crypto';
import { CoalescedWrite } from '../../files/coalesced-write.js';
import { errorData, type Logger, silentLogger } from '../../logging/logger.js';
import { ExpiryListeners } from '../expiry-listeners.js';
import {
  type Expiry,
  LockCollision,
  type LockStore,
  LocksUnavailable,
  type Resource,
  type ResourceType,
  type StoreGrant,
} from '../lock-store.js';
import { DirectoryLock } from './directory-lock.js';
import { type HeldResource, readStateFile, writeStateFile } from './state-file.js';

export interface EmbeddedLockStoreOptions {
  /** Where it survives its process. @default nothing survives */
  directory?: string;
  /** @default silent */
  logger?: Logger;
}

interface Held extends HeldResource {
  /** When it expires, in milliseconds of the monotonic clock. */
  deadline: number;
  timer: NodeJS.Timeout;
  /** The grant is on the disk. */
  granted: Promise<void>;
}

/** Longer ones make Node's timers fire at once. */
const longestTimerMs = 2 ** 31 - 1;

/**
 * Locks of one process, by its monotonic clock (docs/protocol/edge.md §8.4).
 *
 * A grant is on the disk before it is told, so after a crash each key that was held is held by the same owner for one
 * more ttl: nobody else gets it before its holder has given up, and the holder may renew it meanwhile.
 */
export class EmbeddedLockStore implements LockStore {
  readonly #held = new Map<string, Held>();
  readonly #listeners = new ExpiryListeners();
  readonly #logger: Logger;
  readonly #file: CoalescedWrite | undefined;
  readonly #directoryLock: DirectoryLock | undefined;
  #state: 'new' | 'running' | 'stopped' = 'new';
  #lastToken = 0;

  constructor(private readonly options: EmbeddedLockStoreOptions = {}) {
    const { directory, logger = silentLogger } = options;
    this.#logger = logger;
    if (directory === undefined) return;
    this.#directoryLock = new DirectoryLock(directory);
    this.#file = new CoalescedWrite(() =>
      writeStateFile(directory, { lastToken: this.#lastToken, held: [...this.#held.values()] }),
    );
  }

  /** @throws when another process has the directory, or its file cannot be read */
  async start(): Promise<void> {
    const { directory } = this.options;
    // Microseconds: a file that was lost does not make tokens fall.
    this.#lastToken = Date.now() * 1000;
    if (directory !== undefined) {
      await this.#directoryLock?.take();
      const state = await readStateFile(directory);
      this.#lastToken = Math.max(this.#lastToken, state.lastToken);
      for (const held of state.held) this.#hold(held, Promise.resolve());
    }
    this.#state = 'running';
  }

  async stop(): Promise<void> {
    if (this.#state === 'stopped') return;
    const wasRunning = this.#state === 'running';
    this.#state = 'stopped';
    for (const { timer } of this.#held.values()) clearTimeout(timer);
    try {
      if (wasRunning) await this.#file?.save();
    } finally {
      this.#directoryLock?.free();
    }
  }

  async acquire(resource: Resource, ttlMs: number): Promise<StoreGrant> {
    this.#assertRunning();
    const held = this.#current(resource.key);
    if (held && held.owner !== resource.owner) throw new LockCollision(resource.key, held.owner);
    return held ? this.#renew(held, resource, ttlMs) : this.#grant(resource, ttlMs);
  }

  async release(key: string, owner: string): Promise<void> {
    this.#assertRunning();
    const held = this.#current(key);
    if (!held) return;
    if (held.owner !== owner) throw new LockCollision(key, held.owner);
    this.#drop(held);
  }

  async fetch(key: string): Promise<Resource | undefined> {
    this.#assertRunning();
    const held = this.#current(key);
    return held && resourceOf(held);
  }

  async list(type: ResourceType): Promise<Resource[]> {
    this.#assertRunning();
    return this.#ofType(type).map(resourceOf);
  }

  async count(type: ResourceType): Promise<number> {
    this.#assertRunning();
    return this.#ofType(type).length;
  }

  onExpired(listener: (expiry: Expiry) => void): () => void {
    return this.#listeners.add(listener);
  }

  async #grant(resource: Resource, ttlMs: number): Promise<StoreGrant> {
    this.#lastToken += 1;
    const fresh = { ...resource, ttlMs, id: randomUUID(), index: 1, token: this.#lastToken };
    let settle: (saved: Promise<void> | undefined) => void = () => {};
    const granted = new Promise<void>((resolve) => {
      settle = resolve;
    });
    const held = this.#hold(fresh, granted);
    settle(this.#file?.save());
    try {
      await granted;
    } catch (error) {
      if (this.#held.get(held.key) === held) this.#forget(held);
      throw new LocksUnavailable(`a grant could not be stored: ${(error as Error).message}`, { cause: error });
    }
    return { token: held.token, index: 1 };
  }

  async #renew(held: Held, { value, type }: Resource, ttlMs: number): Promise<StoreGrant> {
    const isChanged = value !== held.value || type !== held.type || ttlMs !== held.ttlMs;
    const isLonger = ttlMs > held.ttlMs;
    Object.assign(held, { value, type, ttlMs, index: held.index + 1, deadline: performance.now() + ttlMs });
    const { token, index } = held;
    this.#arm(held);
    if (isChanged && !isLonger) this.#saveLater();
    try {
      await held.granted;
      // After a crash the key must be held for as long as its owner believes.
      if (isLonger) await this.#file?.save();
    } catch (error) {
      throw new LocksUnavailable(`a grant could not be stored: ${(error as Error).message}`, { cause: error });
    }
    return { token, index };
  }

  #hold(resource: HeldResource, granted: Promise<void>): Held {
    const deadline = performance.now() + resource.ttlMs;
    const held: Held = { ...resource, deadline, granted, timer: setTimeout(() => {}, 0) };
    this.#held.set(held.key, held);
    this.#arm(held);
    return held;
  }

  #arm(held: Held): void {
    clearTimeout(held.timer);
    // A timer may fire early by part of a millisecond.
    const delayMs = Math.min(Math.ceil(held.deadline - performance.now()), longestTimerMs);
    held.timer = setTimeout(() => this.#expireOrArm(held), Math.max(1, delayMs));
  }

  #expireOrArm(held: Held): void {
    if (performance.now() < held.deadline) this.#arm(held);
    else this.#expire(held);
  }

  #expire(held: Held): void {
    this.#drop(held);
    this.#listeners.tell({ key: held.key, type: held.type });
  }

  /** A timer that is late must not keep a key from others. */
  #current(key: string): Held | undefined {
    const held = this.#held.get(key);
    if (!held || performance.now() < held.deadline) return held;
    this.#expire(held);
    return undefined;
  }

  #ofType(type: ResourceType): Held[] {
    const now = performance.now();
    return [...this.#held.values()].filter((held) => held.type === type && now < held.deadline);
  }

  #drop(held: Held): void {
    this.#forget(held);
    this.#saveLater();
  }

  #forget(held: Held): void {
    clearTimeout(held.timer);
    this.#held.delete(held.key);
  }

  /** What is lost of it in a crash keeps a free key for one ttl, no more. */
  #saveLater(): void {
    this.#file?.save().catch((error: unknown) => this.#logger.error('locks.embedded.save-failed', errorData(error)));
  }

  #assertRunning(): void {
    if (this.#state !== 'running') throw new LocksUnavailable('the lock store does not run');
  }
}

function resourceOf({ key, owner, value, type }: Held): Resource {
  return { key, owner, value, type };
}
