import { randomBytes } from 'node:crypto';

/**
 * Names of the lists of instances that this process saved last, by DEA. Redis keeps the name with the list: as long as
 * both agree, a repeated heartbeat needs no more than a look. DEAs of which nothing is heard are forgotten.
 */
export class SavedLists {
  /** The DEAs that were noted last stand last. */
  readonly #lists = new Map<string, { name: string; notedAt: number }>();

  /** @param keepMs how long a DEA may be silent, in milliseconds */
  constructor(private readonly keepMs: number) {}

  static newName(): string {
    return randomBytes(9).toString('base64url');
  }

  get size(): number {
    return this.#lists.size;
  }

  nameOf(dea: string): string | undefined {
    return this.#lists.get(dea)?.name;
  }

  note(dea: string, name: string): void {
    this.#lists.delete(dea);
    this.#lists.set(dea, { name, notedAt: performance.now() });
    this.#forgetSilent();
  }

  clear(): void {
    this.#lists.clear();
  }

  #forgetSilent(): void {
    const limit = performance.now() - this.keepMs;
    for (const [dea, { notedAt }] of this.#lists) {
      if (notedAt >= limit) return;
      this.#lists.delete(dea);
    }
  }
}
