import type { CallOptions, Grant, Locks, Resource, ResourceType } from '../../lib/locks/lock-store.js';

/** Locks of which a spec says how they answer: as they are, not at all, with an error, or after a gate. */
export class ScriptedLocks implements Locks {
  acquires = 0;
  releases = 0;
  /** In place of the answer to `acquire`, from now on. */
  instead: ((ask: () => Promise<Grant>) => Promise<Grant>) | undefined;

  constructor(private readonly locks: Locks) {}

  acquire(resource: Resource, ttlMs: number, options?: CallOptions): Promise<Grant> {
    this.acquires += 1;
    const ask = () => this.locks.acquire(resource, ttlMs, options);
    return this.instead ? this.instead(ask) : ask();
  }

  release(key: string, owner: string, options?: CallOptions): Promise<void> {
    this.releases += 1;
    return this.locks.release(key, owner, options);
  }

  fetch(key: string, options?: CallOptions): Promise<Resource | undefined> {
    return this.locks.fetch(key, options);
  }

  list(type: ResourceType, options?: CallOptions): Promise<Resource[]> {
    return this.locks.list(type, options);
  }
}
