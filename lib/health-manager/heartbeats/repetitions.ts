import { createHash } from 'node:crypto';

/**
 * Remembers what each agent's last saved heartbeat was, by its digest: while nothing changes on a cell its heartbeats
 * are the same bytes, and need not be unpacked.
 */
export class Repetitions {
  readonly #deas = new Map<string, string>();
  readonly #digests = new Map<string, string>();

  /** @returns the agent whose last saved heartbeat had these very bytes */
  deaOf(digest: string): string | undefined {
    return this.#deas.get(digest);
  }

  /** The heartbeat with that digest was saved. */
  note(dea: string, digest: string): void {
    const before = this.#digests.get(dea);
    if (before === digest) return;
    if (before !== undefined) this.#deas.delete(before);
    this.#digests.set(dea, digest);
    this.#deas.set(digest, dea);
  }

  /** Keeps only agents that are in the given set. */
  keepOnly(deas: ReadonlySet<string>): void {
    for (const [dea, digest] of this.#digests) {
      if (deas.has(dea)) continue;
      this.#digests.delete(dea);
      this.#deas.delete(digest);
    }
  }

  clear(): void {
    this.#deas.clear();
    this.#digests.clear();
  }
}

/** Names bytes; whoever can make two heartbeats of one digest could as well send a wrong one. */
export function digestOf(payload: Uint8Array): string {
  return createHash('sha1').update(payload).digest('base64');
}
