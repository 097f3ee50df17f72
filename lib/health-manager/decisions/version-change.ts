import type { AppState, PendingStop } from '../records.js';

/** The stop of an instance whose version nobody wants. */
export interface OldVersionStop {
  stop: PendingStop;
  /** Index of the instance. */
  index: number;
}

/** Seconds for which an old version is remembered after its wait: its stops may have to be ordered more than once. */
const memory = 3600;

/**
 * Lets instances of an old version live until those of the new one run in their places, for a limited time: a change
 * of version is then no outage (docs/protocol/health-manager.md §14).
 */
export class VersionChangeHolds {
  /** Since when each old version is one, by `<app>,<version>`; unix seconds. */
  readonly #oldSince = new Map<string, number>();

  /** @param seconds how long an old version may wait for the new one at most */
  constructor(private readonly seconds: number) {}

  /**
   * @param stops all that one analysis found
   * @param wanted the wanted versions of their apps, by app
   * @param now unix seconds
   * @returns those that need not wait
   */
  release(stops: OldVersionStop[], wanted: ReadonlyMap<string, AppState>, now: number): PendingStop[] {
    for (const [key, since] of this.#oldSince) if (now - since >= this.seconds + memory) this.#oldSince.delete(key);
    return stops
      .filter(({ stop, index }) => this.#isOver(stop, now) || !isAwaited(index, wanted.get(stop.app)))
      .map(({ stop }) => stop);
  }

  #isOver({ app, version }: PendingStop, now: number): boolean {
    const key = `${app},${version}`;
    const since = this.#oldSince.get(key) ?? now;
    this.#oldSince.set(key, since);
    return now - since >= this.seconds;
  }
}

/** Whether the wanted version is still to run at that index. */
function isAwaited(index: number, wanted: AppState | undefined): boolean {
  if (index >= (wanted?.desired?.instances ?? 0)) return false;
  for (const instance of wanted!.instances.values()) {
    if (instance.index === index && instance.state === 'RUNNING') return false;
  }
  return true;
}
