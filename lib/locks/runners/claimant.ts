import { randomUUID } from 'node:crypto';
import { type Grant, LockCollision, type Locks, type ResourceType } from '../lock-store.js';
import { Tenure } from './tenure.js';

export interface ClaimOptions {
  locks: Locks;
  key: string;
  owner: string;
  type: ResourceType;
  /** Asked for at each attempt. */
  value: () => string;
  ttlMs: number;
}

/** What came of one attempt to take or renew a key. */
export type Attempt =
  | { kind: 'granted' }
  /** The grant came when its time was over already. */
  | { kind: 'late' }
  /** The key is ours by another grant than before: meanwhile it was not. */
  | { kind: 'granted-anew' }
  | { kind: 'collision'; owner: string | undefined }
  | { kind: 'failed'; error: unknown; requestId: string };

/** One that claims a key: it attempts, and knows until when it may believe what it got. */
export class Claimant {
  readonly tenure: Tenure;
  readonly #attempts = new Set<Promise<unknown>>();
  #token: number | undefined;
  #isClosed = false;
  #wasInterrupted = false;

  constructor(readonly options: ClaimOptions) {
    this.tenure = new Tenure(options.ttlMs);
  }

  /** Fencing token of the present grant; undefined without one, and with upstream's Locket. */
  get token(): number | undefined {
    return this.isValid ? this.#token : undefined;
  }

  /** Whether the key is ours at this moment. */
  get isValid(): boolean {
    return !this.#isClosed && this.tenure.isValidAt(performance.now());
  }

  /**
   * Whether the key was granted anew while it should have been ours: for a while it was nobody's, or somebody else's. It
   * stays so until the time of the key is over.
   */
  get wasInterrupted(): boolean {
    return this.isValid && this.#wasInterrupted;
  }

  /** Whatever is granted from now on: the key is not ours. */
  close(): void {
    this.#isClosed = true;
  }

  /** Never throws, and takes no longer than the limit; a grant that comes later still counts. */
  async attempt(timeoutMs: number): Promise<Attempt> {
    const requestId = randomUUID();
    const attempt = this.#ask(timeoutMs, requestId).finally(() => this.#attempts.delete(attempt));
    this.#attempts.add(attempt);
    const timeout = limit(timeoutMs);
    try {
      return await Promise.race([attempt, timeout.passed]);
    } catch (error) {
      if (error instanceof LockCollision) return { kind: 'collision', owner: error.owner };
      return { kind: 'failed', error, requestId };
    } finally {
      timeout.clear();
    }
  }

  /** Closes it, and gives the key back when no attempt is under way any more. @throws as `Locks.release` */
  async release(timeoutMs: number): Promise<void> {
    this.close();
    const timeout = limit(timeoutMs);
    await Promise.race([Promise.allSettled(this.#attempts), timeout.passed.catch(() => {})]);
    timeout.clear();
    const { locks, key, owner } = this.options;
    const releasing = limit(timeoutMs);
    try {
      await Promise.race([locks.release(key, owner, { timeoutMs }), releasing.passed]);
    } finally {
      releasing.clear();
    }
  }

  async #ask(timeoutMs: number, requestId: string): Promise<Attempt> {
    const { locks, key, owner, type, value, ttlMs } = this.options;
    const asked = performance.now();
    const wasValid = this.isValid;
    const grant = await locks.acquire({ key, owner, value: value(), type }, ttlMs, { timeoutMs, requestId });
    return this.#count(grant, asked, wasValid);
  }

  #count({ token }: Grant, asked: number, wasValid: boolean): Attempt {
    const isAnother = wasValid && this.isValid && token !== this.#token;
    this.#wasInterrupted = isAnother || this.wasInterrupted;
    this.#token = token;
    this.tenure.extend(asked);
    if (this.wasInterrupted) return { kind: 'granted-anew' };
    return { kind: this.isValid ? 'granted' : 'late' };
  }
}

function limit(timeoutMs: number): { passed: Promise<never>; clear(): void } {
  let timer: NodeJS.Timeout | undefined;
  const passed = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => reject(new Error(`no answer within ${Math.round(timeoutMs)} ms`)), timeoutMs);
  });
  // It may pass when nobody waits.
  passed.catch(() => {});
  return { passed, clear: () => clearTimeout(timer) };
}
