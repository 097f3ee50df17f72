import type { ActualLRP } from '../../messages/models.js';
import { isOccupied, type Rows, states } from '../actual-lrps/rows.js';
import type { ConvergenceView, LrpImage, LrpStep } from './lrps.js';

/** The figures of a pass, by what upstream's metrics are called (docs/protocol/bbs.md §18). */
export interface LrpCensus {
  LRPsDesired: number;
  LRPsUnclaimed: number;
  LRPsClaimed: number;
  LRPsRunning: number;
  /** Instances that crashed so often that they wait. */
  CrashedActualLRPs: number;
  /** Desired LRPs with such instances. */
  CrashingDesiredLRPs: number;
  LRPsMissing: number;
  /** To be retired. */
  LRPsExtra: number;
  SuspectRunningActualLRPs: number;
  SuspectClaimedActualLRPs: number;
  PresentCells: number;
  /** Cells that have instances and are not there. */
  SuspectCells: number;
}

/** @param steps that were planned on the same image */
export function countLrps(image: LrpImage, view: ConvergenceView, steps: readonly LrpStep[]): LrpCensus {
  const counted = new Counts(view);
  for (const [guid, indices] of image.actual) {
    for (const rows of indices.values()) counted.add(guid, rows);
  }
  const desired = [...image.desired.values()].reduce((sum, { instances }) => sum + instances, 0);
  return {
    LRPsDesired: desired,
    LRPsUnclaimed: counted.ordinary.get(states.unclaimed) ?? 0,
    LRPsClaimed: counted.ordinary.get(states.claimed) ?? 0,
    LRPsRunning: counted.ordinary.get(states.running) ?? 0,
    CrashedActualLRPs: counted.ordinary.get(states.crashed) ?? 0,
    CrashingDesiredLRPs: [...counted.crashing].filter((guid) => image.desired.has(guid)).length,
    LRPsMissing: steps.filter(({ kind }) => kind === 'create').length,
    LRPsExtra: steps.filter(({ kind }) => kind === 'retire').length,
    SuspectRunningActualLRPs: counted.suspect.get(states.running) ?? 0,
    SuspectClaimedActualLRPs: counted.suspect.get(states.claimed) ?? 0,
    PresentCells: view.cells?.size ?? 0,
    SuspectCells: counted.lostCells.size,
  };
}

class Counts {
  readonly ordinary = new Map<string, number>();
  readonly suspect = new Map<string, number>();
  readonly crashing = new Set<string>();
  readonly lostCells = new Set<string>();
  readonly #cells: ReadonlySet<string> | undefined;

  constructor({ cells }: ConvergenceView) {
    this.#cells = cells;
  }

  add(guid: string, { ordinary, suspect }: Rows): void {
    if (ordinary?.state === states.crashed) this.crashing.add(guid);
    this.#count(this.ordinary, ordinary);
    this.#count(this.suspect, suspect);
  }

  #count(counts: Map<string, number>, row: ActualLRP | undefined): void {
    if (!row) return;
    counts.set(row.state, (counts.get(row.state) ?? 0) + 1);
    const { cellId } = row.actualLrpInstanceKey;
    if (isOccupied(row) && this.#cells && !this.#cells.has(cellId)) this.lostCells.add(cellId);
  }
}
