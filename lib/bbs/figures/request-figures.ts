import type { MetricSink } from '../../metrics/metric-sink.js';

export interface RequestFiguresOptions {
  sink: MetricSink;
  /** Routes that have figures of their own, by name. */
  countedRoutes: ReadonlySet<string>;
  timedRoutes: ReadonlySet<string>;
}

const nanosecondsPerMs = 1e6;

/** How many requests there were, and the longest of a period (docs/protocol/bbs.md §18). */
export class RequestFigures {
  #count = 0;
  #longestMs = 0;
  readonly #counts = new Map<string, number>();
  readonly #longest = new Map<string, number>();

  constructor(private readonly options: RequestFiguresOptions) {}

  /** @param durationMs undefined: of an event stream that has ended */
  add(route: string, durationMs: number | undefined): void {
    const { countedRoutes, timedRoutes } = this.options;
    this.#count += 1;
    if (countedRoutes.has(route)) this.#counts.set(route, (this.#counts.get(route) ?? 0) + 1);
    if (durationMs === undefined) return;
    this.#longestMs = Math.max(this.#longestMs, durationMs);
    if (timedRoutes.has(route)) this.#longest.set(route, Math.max(this.#longest.get(route) ?? 0, durationMs));
  }

  /** Tells how many there were since the last time. */
  count(): void {
    const { sink } = this.options;
    sink.add('RequestCount', this.#count);
    for (const [route, count] of this.#counts) sink.add(`RequestCount.${route}`, count);
    this.#count = 0;
    this.#counts.clear();
  }

  /** Tells the longest durations, and measures anew. */
  closeInterval(): void {
    const { sink, timedRoutes } = this.options;
    sink.set('RequestLatency', this.#longestMs * nanosecondsPerMs);
    for (const route of timedRoutes) {
      sink.set(`RequestLatency.${route}`, (this.#longest.get(route) ?? 0) * nanosecondsPerMs);
    }
    this.#longestMs = 0;
    this.#longest.clear();
  }
}
