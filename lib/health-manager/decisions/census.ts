import { type AppState, isLive } from '../records.js';

/** Gauges of one analysis, by upstream's names (docs/protocol/health-manager.md §9). */
export const censusNames = [
  'NumberOfDesiredApps',
  'NumberOfDesiredInstances',
  'NumberOfDesiredAppsPendingStaging',
  'NumberOfAppsWithAllInstancesReporting',
  'NumberOfAppsWithMissingInstances',
  'NumberOfMissingIndices',
  'NumberOfUndesiredRunningApps',
  'NumberOfRunningInstances',
  'NumberOfCrashedInstances',
  'NumberOfCrashedIndices',
] as const;
export type CensusName = (typeof censusNames)[number];
export type CensusFigures = Record<CensusName, number>;

/** What all gauges are when nothing can be said. */
export function unknownCensus(): CensusFigures {
  return figures(-1);
}

/** Counts all apps that it is shown. */
export class Census {
  readonly figures = figures(0);

  add(app: AppState): void {
    const reported = new Set<number>();
    const live = new Set<number>();
    const crashed = new Set<number>();
    let liveInstances = 0;
    for (const instance of app.instances.values()) {
      reported.add(instance.index);
      if (isLive(instance)) {
        live.add(instance.index);
        liveInstances += 1;
      } else if (instance.state === 'CRASHED') {
        crashed.add(instance.index);
        this.figures.NumberOfCrashedInstances += 1;
      }
    }
    this.figures.NumberOfRunningInstances += liveInstances;
    for (const index of crashed) if (!live.has(index)) this.figures.NumberOfCrashedIndices += 1;
    if (app.desired) this.#addDesired(app.desired, reported);
    else if (liveInstances > 0) this.figures.NumberOfUndesiredRunningApps += 1;
  }

  #addDesired({ instances, packageState }: NonNullable<AppState['desired']>, reported: Set<number>): void {
    if (packageState === 'PENDING') {
      this.figures.NumberOfDesiredAppsPendingStaging += 1;
      return;
    }
    this.figures.NumberOfDesiredApps += 1;
    this.figures.NumberOfDesiredInstances += instances;
    let missing = 0;
    for (let index = 0; index < instances; index += 1) if (!reported.has(index)) missing += 1;
    this.figures.NumberOfMissingIndices += missing;
    this.figures[missing === 0 ? 'NumberOfAppsWithAllInstancesReporting' : 'NumberOfAppsWithMissingInstances'] += 1;
  }
}

function figures(value: number): CensusFigures {
  return Object.fromEntries(censusNames.map((name) => [name, value])) as CensusFigures;
}
