import { randomUUID } from 'node:crypto';
import type { MetricSink } from '../metrics/metric-sink.js';
import { type AnalysisSettings, analyze } from './decisions/analysis.js';
import { Census, type CensusFigures, unknownCensus } from './decisions/census.js';
import { requireFresh } from './decisions/freshness.js';
import type { OldVersionStop, VersionChangeHolds } from './decisions/version-change.js';
import type { AppState, PendingStart, PendingStop } from './records.js';
import type { AppVersion, HealthStore, NewOrders } from './store/health-store.js';

export interface AnalyzerOptions {
  store: HealthStore;
  settings: AnalysisSettings;
  /** While it says so nothing is stopped for not being desired. */
  isHoldingStops?: () => boolean;
  /** Lets old versions of apps wait for the new ones; without it they are stopped at once. */
  versionChangeHolds?: VersionChangeHolds;
  metrics: MetricSink;
}

/** Finds out what all apps need and puts it into the store as orders (docs/protocol/health-manager.md §6.1). */
export class Analyzer {
  constructor(private readonly options: AnalyzerOptions) {}

  /** @throws NotFreshError, and the store's errors; all gauges are -1 then */
  async analyze(): Promise<void> {
    try {
      await this.#publish(await this.#analyze());
    } catch (error) {
      await this.#publish(unknownCensus()).catch(() => {});
      throw error;
    }
  }

  async #analyze(): Promise<CensusFigures> {
    const { store, settings, versionChangeHolds } = this.options;
    requireFresh(await store.freshness());
    const begun = performance.now();
    const [now, held] = await Promise.all([store.now(), store.heldApps()]);
    const census = new Census();
    const found: NewOrders = { crashCounts: [], starts: [], stops: [] };
    const deletedStarts: PendingStart[] = [];
    const oldVersions = new OldVersions();
    await store.forEachApp((app) => {
      census.add(app);
      const { starts, stops, crashCounts, outdated } = analyze(app, { settings, now, newMessageId: randomUUID });
      found.starts.push(...starts);
      if (this.options.isHoldingStops?.() !== true) deletedStarts.push(...outdated);
      const free = stops.filter((stop) => !this.#isHeld(stop, app, held));
      if (versionChangeHolds) found.stops.push(...oldVersions.keepBack(app, free));
      else found.stops.push(...free);
      for (const count of crashCounts) found.crashCounts.push({ app: app.app, version: app.version, ...count });
    });
    if (versionChangeHolds) {
      const wanted = await oldVersions.successors(store);
      found.stops.push(...versionChangeHolds.release(oldVersions.stops, wanted, now));
    }
    await store.saveOrders(found);
    if (deletedStarts.length > 0) {
      await store.commitSendResult({ sentStarts: [], sentStops: [], deletedStarts, deletedStops: [] });
    }
    this.options.metrics.set('AnalysisTimeInMilliseconds', performance.now() - begun);
    return census.figures;
  }

  #isHeld({ app }: PendingStop, { desired }: AppState, held: ReadonlySet<string>): boolean {
    return desired === undefined && (held.has(app) || this.options.isHoldingStops?.() === true);
  }

  async #publish(figures: CensusFigures): Promise<void> {
    for (const [name, value] of Object.entries(figures)) this.options.metrics.set(name, value);
    await this.options.store.saveMetrics(figures);
  }
}

/** Stops of versions that nobody wants, until the analysis has seen which ones are wanted in their place. */
class OldVersions {
  readonly stops: OldVersionStop[] = [];
  readonly #wantedVersions = new Map<string, string>();

  /** @returns those of the stops that have nothing to wait for */
  keepBack({ app, version, desired, instances }: AppState, stops: PendingStop[]): PendingStop[] {
    if (desired) {
      this.#wantedVersions.set(app, version);
      return stops;
    }
    for (const stop of stops) this.stops.push({ stop, index: instances.get(stop.instance)?.index ?? 0 });
    return [];
  }

  /** The wanted versions of the apps whose stops were kept back, by app. */
  async successors(store: HealthStore): Promise<Map<string, AppState>> {
    const questions = new Map<string, AppVersion>();
    for (const { stop } of this.stops) {
      const version = this.#wantedVersions.get(stop.app);
      if (version !== undefined) questions.set(stop.app, { app: stop.app, version });
    }
    const known = await store.getApps([...questions.values()]);
    return new Map(known.flatMap((app) => (app ? [[app.app, app]] : [])));
  }
}
