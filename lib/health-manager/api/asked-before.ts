import { createHash } from 'node:crypto';
import type { AppState } from '../records.js';
import type { AppVersion } from '../store/health-store.js';

/** What a list of questions is about. */
export interface Subjects {
  /** The answer's apps in its order, each once. */
  apps: readonly AppState[];
  /** Questions about apps that were unknown. */
  unknown: readonly AppVersion[];
}

/** Apps that are remembered, over all lists; a reference each. */
const limit = 1_000_000;

/**
 * Cloud Controllers ask the same long lists again and again: which apps a list is about is remembered by the bytes in
 * which it came, the lists that were asked last. Whether that is so still is for the caller to see.
 */
export class AskedBefore {
  /** Those that were asked last stand last. */
  readonly #lists = new Map<string, Subjects>();
  #remembered = 0;

  constructor(private readonly maximum = limit) {}

  /** The name of a list. */
  static nameOf(body: Buffer): string {
    return createHash('sha256').update(body).digest('base64');
  }

  get(name: string): Subjects | undefined {
    const subjects = this.#lists.get(name);
    if (!subjects) return undefined;
    this.#lists.delete(name);
    this.#lists.set(name, subjects);
    return subjects;
  }

  remember(name: string, subjects: Subjects): void {
    this.forget(name);
    if (sizeOf(subjects) > this.maximum) return;
    this.#lists.set(name, subjects);
    this.#remembered += sizeOf(subjects);
    for (const oldest of this.#lists.keys()) {
      if (this.#remembered <= this.maximum) return;
      this.forget(oldest);
    }
  }

  forget(name: string): void {
    const subjects = this.#lists.get(name);
    if (!subjects) return;
    this.#lists.delete(name);
    this.#remembered -= sizeOf(subjects);
  }
}

/** Strings of a question that got no answer weigh more than a reference. */
function sizeOf({ apps, unknown }: Subjects): number {
  return 1 + apps.length + 20 * unknown.length;
}
