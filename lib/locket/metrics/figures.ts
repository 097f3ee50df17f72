import { DatabaseFigures } from '../../database/database-figures.js';
import type { DatabaseObserver } from '../../database/database-observer.js';
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

const nanosecondsPerMs = 1e6;

const expiryNames: Record<ResourceType, string> = { lock: 'LocksExpired', presence: 'PresenceExpired' };
const activeNames: Record<ResourceType, string> = { lock: 'ActiveLocks', presence: 'ActivePresences' };

/** What a Locket counts and measures (docs/protocol/edge.md §6.4). */
export class Figures {
  readonly #calls = new Map<MethodName, Measured>(methodNames.map((name) => [name, new Measured()]));
  readonly #database: DatabaseFigures | undefined;
  readonly #expired: Record<ResourceType, number> = { lock: 0, presence: 0 };
  readonly #active: Partial<Record<ResourceType, number>> = {};
  /** Of the report before this one, so that who asks in between spoils nothing. */
  readonly #longest = new Map<Measured, number>();

  /** @param hasDatabase whether there is one to be told of */
  constructor(hasDatabase: boolean) {
    this.#database = hasDatabase ? new DatabaseFigures() : undefined;
  }

  /** Hears of the database, where there is one. */
  get database(): DatabaseObserver | undefined {
    return this.#database;
  }

  readonly calls: CallObserver = {
    started: (method) => this.#calls.get(method)!.start(),
    ended: (method, outcome, durationMs) => this.#calls.get(method)!.end(outcome, durationMs),
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
    for (const measured of [...this.#calls.values(), ...(this.#database ? [this.#database.queries] : [])]) {
      this.#longest.set(measured, measured.takeLongest());
    }
  }

  /** Everything at this moment; durations are nanoseconds, as upstream's. */
  all(): Figure[] {
    return [
      ...(['lock', 'presence'] as const).flatMap((type) => this.#ofType(type)),
      ...methodNames.flatMap((name) => this.#ofCalls(name, this.#calls.get(name)!)),
      ...(this.#database ? this.#ofDatabase(this.#database) : []),
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
      gauge('RequestLatencyMax', this.#longestNs(calls)),
    ];
    return figures.map((figure) => ({ ...figure, requestType }));
  }

  #ofDatabase({ queries, openConnections, waitCount, waitedMs }: DatabaseFigures): Figure[] {
    return [
      gauge('DBOpenConnections', openConnections),
      gauge('DBWaitCount', waitCount),
      gauge('DBWaitDuration', waitedMs * nanosecondsPerMs),
      counter('DBQueriesTotal', queries.started),
      counter('DBQueriesSucceeded', queries.succeeded),
      counter('DBQueriesFailed', queries.failed),
      gauge('DBQueriesInFlight', queries.inFlight),
      gauge('DBQueryDurationMax', this.#longestNs(queries)),
    ];
  }

  #longestNs(measured: Measured): number {
    return (this.#longest.get(measured) ?? 0) * nanosecondsPerMs;
  }
}

function gauge(name: string, value: number): Figure {
  return { name, kind: 'gauge', value };
}

function counter(name: string, value: number): Figure {
  return { name, kind: 'counter', value };
}
