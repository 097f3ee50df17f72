import type { StagerAdvertisement } from '../messages.js';

interface Entry<Advertisement> {
  advertisement: Advertisement;
  /** Milliseconds since 1970. */
  expiresAt: number;
}

/**
 * The last advertisement of each cell (docs/protocol/legacy-cc.md §2.3). An entry counts as gone from its expiry on,
 * but stays until somebody asks for the living ones.
 */
export class AdvertisementPool<Advertisement extends StagerAdvertisement> {
  private readonly entries = new Map<string, Entry<Advertisement>>();

  constructor(private readonly timeoutMs: number) {}

  /** @returns whether the id was not yet known */
  put(advertisement: Advertisement, now: number): boolean {
    const isNew = !this.entries.has(advertisement.id);
    this.entries.set(advertisement.id, { advertisement, expiresAt: now + this.timeoutMs });
    return isNew;
  }

  remove(id: string): void {
    this.entries.delete(id);
  }

  /** Lets an entry count as gone from now on, until its next advertisement. @returns whether there is one */
  expire(id: string, now: number): boolean {
    const entry = this.entries.get(id);
    if (entry) entry.expiresAt = now;
    return entry !== undefined;
  }

  ids(): string[] {
    return [...this.entries.keys()];
  }

  /** Whether any entry, expired or not, has the stack. */
  knowsStack(stack: string): boolean {
    return [...this.entries.values()].some(({ advertisement }) => advertisement.stacks.includes(stack));
  }

  /** Forgets the expired entries and gives the others. */
  prune(now: number): Advertisement[] {
    for (const [id, { expiresAt }] of this.entries) if (now >= expiresAt) this.entries.delete(id);
    return [...this.entries.values()].map(({ advertisement }) => advertisement);
  }

  /** Changes an entry until its next advertisement; nothing happens when there is none. */
  adjust(id: string, change: (advertisement: Advertisement) => Advertisement): void {
    const entry = this.entries.get(id);
    if (entry) entry.advertisement = change(entry.advertisement);
  }
}
