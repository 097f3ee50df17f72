import type { QueryObserver } from '../../database/query-observer.js';
import type { Expiry, ResourceType } from '../../locks/lock-store.js';
import type { CallObserver } from '../../locks/server/locket-server.js';
import { type MethodName, methodNames } from '../../locks/wire/service.js';
import { Measured } from '../../metrics/measured.js';

/** One figure at a moment, by upstream's name. */
export interface Figure {
  name: string;
  kind: 'gauge' | 'counter';
  value: number;
  /** Of whose calls. */
  requestType?: MethodName;
}

/** Figures that differ only in whose calls they are of; at least one. */
export type SameName = readonly [Figure, ...Figure[]];

/** One list for each name, in the order in which they come. */
export function byName(figures: readonly Figure[]): SameName[] {
  const lists = new Map<string, [Figure, ...Figure[]]>();
  for (const figure of figures) {
    const list = lists.get(figure.name);
    if (list) list.push(figure);
    else lists.set(figure.name, [figure]);
  }
  return [...lists.values()];
}

const expiryNames: Record<ResourceType, string> = { lock: 'LocksExpired', presence: 'PresenceExpired' };
const activeNames: Record<ResourceType, string> = { lock: 'ActiveLocks', presence: 'ActivePresences' };

/** What a Locket counts and measures (docs/protocol/edge.md §6.4). */
export class Figures {
  readonly #calls = new Map<MethodName, Measured>(methodNames.map((name) => [name, new Measured()]));
  readonly #queries: Measured | undefined;
  readonly #expired: Record<ResourceType, number> = { lock: 0, presence: 0 };
  readonly #active: Partial<Record<ResourceType, number>> = {};
  /** Of the report before this one, so that who asks in between spoils nothing. */
  readonly #longest = new Map<Measured, number>();

  /** @param hasDatabase whether there are queries to be told of */
  constructor(hasDatabase: boolean) {
    this.#queries = hasDatabase ? new Measured() : undefined;
  }

  readonly calls: CallObserver = {
    started: (method) => this.#calls.get(method)!.start(),
    ended: (method, outcome, durationMs) => this.#calls.get(method)!.end(outcome, durationMs),
  };

  readonly queries: QueryObserver = {
    started: () => this.#queries?.start(),
    ended: (hasSucceeded, durationMs) => this.#queries?.end(hasSucceeded ? 'succeeded' : 'failed', durationMs),
  };

  expired({ type }: Expiry): void {
    this.#expired[type] += 1;
  }

  /** How many are held now. */
  active(type: ResourceType, count: number): void {
    this.#active[type] = count;
  }

  /** Ends an interval: the longest durations of it are told from now on. */
  closeInterval(): void {
    for (const measured of [...this.#calls.values(), ...(this.#queries ? [this.#queries] : [])]) {
      this.#longest.set(measured, measured.takeLongest());
    }
  }

  /** Everything at this moment; durations are milliseconds. */
  all(): Figure[] {
    return [
      ...(['lock', 'presence'] as const).flatMap((type) => this.#ofType(type)),
      ...methodNames.flatMap((name) => this.#ofCalls(name, this.#calls.get(name)!)),
      ...(this.#queries ? this.#ofQueries(this.#queries) : []),
    ];
  }

  #ofType(type: ResourceType): Figure[] {
    const active = this.#active[type];
    return [
      ...(active === undefined ? [] : [gauge(activeNames[type], active)]),
      counter(expiryNames[type], this.#expired[type]),
    ];
  }

  #ofCalls(requestType: MethodName, calls: Measured): Figure[] {
    const figures = [
      counter('RequestsStarted', calls.started),
      counter('RequestsSucceeded', calls.succeeded),
      counter('RequestsFailed', calls.failed),
      counter('RequestsCancelled', calls.cancelled),
      gauge('RequestsInFlight', calls.inFlight),
      gauge('RequestLatencyMax', this.#longest.get(calls) ?? 0),
    ];
    return figures.map((figure) => ({ ...figure, requestType }));
  }

  #ofQueries(queries: Measured): Figure[] {
    return [
      counter('DBQueriesTotal', queries.started),
      counter('DBQueriesSucceeded', queries.succeeded),
      counter('DBQueriesFailed', queries.failed),
      gauge('DBQueriesInFlight', queries.inFlight),
      gauge('DBQueryDurationMax', this.#longest.get(queries) ?? 0),
    ];
  }
}

function gauge(name: string, value: number): Figure {
  return { name, kind: 'gauge', value };
}

function counter(name: string, value: number): Figure {
  return { name, kind: 'counter', value };
}
