import { createHash } from 'node:crypto';

/** Numbers below are for people, who write them into /etc/projects. */
const lowest = 2 ** 20;
/**
 * As many as one engine goes through before it begins again: the file system keeps a record of every project that ever
 * was, so that there must not be too many.
 */
const rangeSize = 2 ** 16;
const ranges = 16_000;

/** Project numbers of one engine: a range of its own, gone through in turn. */
export class ProjectIds {
  readonly #first: number;
  readonly #taken = new Set<number>();
  #next = 0;

  /** @param owner by which engines differ that share a file system */
  constructor(owner: string) {
    const hash = createHash('sha256').update(owner).digest().readUInt32BE();
    this.#first = lowest + (hash % ranges) * rangeSize;
  }

  /** @throws when all are taken */
  take(): number {
    for (let tries = 0; tries < rangeSize; tries += 1) {
      const id = this.#first + this.#next;
      this.#next = (this.#next + 1) % rangeSize;
      if (this.#taken.has(id)) continue;
      this.#taken.add(id);
      return id;
    }
    throw new Error(`all ${rangeSize} projects are taken`);
  }

  /** Notes one that a volume has already. */
  occupy(id: number): void {
    this.#taken.add(id);
  }

  release(id: number): void {
    this.#taken.delete(id);
  }
}
