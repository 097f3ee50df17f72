import type { ActualLRP, ActualLRPInternalRoute, ActualLRPKey } from '../../messages/models.js';
import { retire } from '../actual-lrps/lifecycle.js';
import type { Outcome } from '../actual-lrps/outcome.js';
import { isRestartDue } from '../actual-lrps/restart-policy.js';
import { isOccupied, noRows, type Rows, states } from '../actual-lrps/rows.js';
import { hasSameHosts } from '../actual-lrps/sameness.js';
import * as upkeep from '../actual-lrps/upkeep.js';
import { type InstanceUpdate, metricTagsFor } from '../desired-lrps/lifecycle.js';
import { hasMetricTags } from '../desired-lrps/metric-tags.js';
import type { DesiredOutline } from '../desired-lrps/outline.js';
import { internalRoutesOf } from '../desired-lrps/routes.js';
import { type Moment, nanosecondsPerSecond } from '../moment.js';

/** All LRPs, as the board holds them in memory. */
export interface LrpImage {
  /** By process guid. */
  readonly desired: ReadonlyMap<string, DesiredOutline>;
  /** By process guid, then by index. */
  readonly actual: ReadonlyMap<string, ReadonlyMap<number, Rows>>;
}

/** What else a pass goes by. */
export interface ConvergenceView {
  /** Nanoseconds since 1970. */
  readonly now: bigint;
  /** Those in which it may destroy: whoever desires there has said all that it wants. */
  readonly freshDomains: ReadonlySet<string>;
  /**
   * Ids of the cells that are there; undefined when that is not known, as just after a start: then no cell is taken
   * for lost and none for back.
   */
  readonly cells: ReadonlySet<string> | undefined;
}

/** One thing to do to one index (docs/protocol/bbs.md §12.2); what it was seen as comes with it. */
export type LrpStep =
  | { readonly kind: 'create'; readonly key: ActualLRPKey }
  | { readonly kind: 'restart' | 'lose-cell' | 'promote' | 'dismiss' | 'retire'; readonly row: ActualLRP }
  | { readonly kind: 'update'; readonly update: InstanceUpdate };

const noIndices: ReadonlyMap<number, Rows> = new Map();

const staleAfterNs = 30n * nanosecondsPerSecond;

/**
 * What is to be done about all LRPs (docs/protocol/bbs.md §12.1). Nothing is done twice: an index gets one step for its
 * ordinary row at most. For so many processes that it takes long, call planProcess for some of them at a time.
 */
export function planLrps(image: LrpImage, view: ConvergenceView): LrpStep[] {
  const steps: LrpStep[] = [];
  for (const [guid, actual] of image.actual) {
    if (!image.desired.has(guid)) steps.push(...planProcess(undefined, actual, view));
  }
  for (const [guid, desired] of image.desired) {
    steps.push(...planProcess(desired, image.actual.get(guid) ?? noIndices, view));
  }
  return steps;
}

/** @param actual rows of the process by index */
export function planProcess(
  desired: DesiredOutline | undefined,
  actual: ReadonlyMap<number, Rows>,
  view: ConvergenceView,
): LrpStep[] {
  if (!desired) return [...actual.values()].flatMap((rows) => planOrphan(rows, view));
  const wanted = wantedOf(desired);
  const steps: LrpStep[] = [];
  for (const [index, rows] of actual) steps.push(...planIndex(wanted, index, rows, view));
  for (let index = 0; index < desired.instances; index += 1) {
    if (!actual.has(index)) steps.push(...planIndex(wanted, index, noRows, view));
  }
  return steps;
}

/**
 * Does a step to the rows of its index as they are now. Updates of instances change no rows: they are for the rep.
 *
 * @param rows may have changed since the step was planned
 */
export function applyStep(
  rows: Rows,
  step: Exclude<LrpStep, { kind: 'update' }>,
  context: Moment & { isCellPresent: (cellId: string) => boolean },
): Outcome {
  switch (step.kind) {
    case 'create':
      return upkeep.create(rows, step.key, context);
    case 'restart':
      return upkeep.restart(rows, step.row, context);
    case 'lose-cell':
      return upkeep.loseCell(rows, step.row, context);
    case 'promote':
      return upkeep.promote(rows, step.row);
    case 'dismiss':
      return upkeep.dismiss(rows, step.row);
    case 'retire':
      return upkeep.whileStill(rows, step.row, () => retire(rows, context.isCellPresent));
  }
}

/** What all indices of a process are compared with. */
interface Wanted {
  desired: DesiredOutline;
  internalRoutes: readonly ActualLRPInternalRoute[];
}

function wantedOf(desired: DesiredOutline): Wanted {
  return { desired, internalRoutes: internalRoutesOf(desired.routes) };
}

/** Nobody desires it; only in a fresh domain does that mean that nobody will. */
function planOrphan(rows: Rows, view: ConvergenceView): LrpStep[] {
  const { ordinary, suspect } = rows;
  const row = ordinary ?? suspect;
  if (!row || !view.freshDomains.has(row.actualLrpKey.domain)) {
    return [...planEvacuating(rows, view), ...planSuspect(rows, view)];
  }
  return [
    ...planEvacuating(rows, view),
    ...(ordinary ? [{ kind: 'retire', row: ordinary } as const] : []),
    ...(suspect ? [{ kind: 'dismiss', row: suspect } as const] : []),
  ];
}

function planIndex(wanted: Wanted, index: number, rows: Rows, view: ConvergenceView): LrpStep[] {
  // Nearly all are so.
  if (!rows.suspect && !rows.evacuating) return planOrdinary(wanted, index, rows.ordinary, view);
  const suspectSteps = isTooMany(wanted, index, view) ? planUnwantedSuspect(rows, view) : planSuspect(rows, view);
  const isTakenOver = suspectSteps.some(({ kind }) => kind === 'promote');
  return [
    ...planEvacuating(rows, view),
    ...suspectSteps,
    ...(isTakenOver ? [] : planOrdinary(wanted, index, rows.ordinary, view)),
  ];
}

/** Instances are added whether the domain is fresh or not, and taken away only when it is. */
function isTooMany({ desired }: Wanted, index: number, { freshDomains }: ConvergenceView): boolean {
  return index >= desired.instances && freshDomains.has(desired.domain);
}

function planEvacuating({ evacuating }: Rows, view: ConvergenceView): LrpStep[] {
  return evacuating && isLost(evacuating, view) ? [{ kind: 'dismiss', row: evacuating }] : [];
}

function planSuspect({ ordinary, suspect }: Rows, view: ConvergenceView): LrpStep[] {
  if (!suspect) return [];
  const isReplaced = ordinary?.state === states.running && !isLost(ordinary, view);
  if (isReplaced) return [{ kind: 'dismiss', row: suspect }];
  const isBack = view.cells?.has(suspect.actualLrpInstanceKey.cellId) === true;
  return isBack ? [{ kind: 'promote', row: suspect }] : [];
}

/** Nobody waits for its replacement; whose cell is back is retired when it is ordinary again. */
function planUnwantedSuspect(rows: Rows, view: ConvergenceView): LrpStep[] {
  const { suspect } = rows;
  return suspect && isLost(suspect, view) ? [{ kind: 'dismiss', row: suspect }] : planSuspect(rows, view);
}

function planOrdinary(
  wanted: Wanted,
  index: number,
  ordinary: ActualLRP | undefined,
  view: ConvergenceView,
): LrpStep[] {
  const { processGuid, domain, instances } = wanted.desired;
  if (!ordinary) return index < instances ? [{ kind: 'create', key: { processGuid, index, domain } }] : [];
  if (isTooMany(wanted, index, view)) return [{ kind: 'retire', row: ordinary }];
  if (isOccupied(ordinary) && isLost(ordinary, view)) return [{ kind: 'lose-cell', row: ordinary }];
  if (isStartDue(ordinary, view.now)) return [{ kind: 'restart', row: ordinary }];
  return ordinary.state === states.running ? planUpdate(wanted, ordinary) : [];
}

function isStartDue({ state, since, crashCount }: ActualLRP, now: bigint): boolean {
  if (state === states.unclaimed) return now - since > staleAfterNs;
  return state === states.crashed && isRestartDue(crashCount, since, now);
}

/** What its rep does not know yet, or does not know any more. */
function planUpdate({ desired, internalRoutes }: Wanted, row: ActualLRP): LrpStep[] {
  const hasNewRoutes = !hasSameHosts(row.actualLrpInternalRoutes, internalRoutes);
  const { index } = row.actualLrpKey;
  const { instanceGuid } = row.actualLrpInstanceKey;
  // Reps of before 2023 tell no tags.
  const hasNewTags =
    row.metricTags.size > 0 && !hasMetricTags(row.metricTags, desired.metricTags, { index, instanceGuid });
  if (!hasNewRoutes && !hasNewTags) return [];
  const update = {
    instance: row,
    ...(hasNewRoutes && { internalRoutes }),
    ...(hasNewTags && { metricTags: metricTagsFor(row, desired) }),
  };
  return [{ kind: 'update', update }];
}

function isLost({ actualLrpInstanceKey }: ActualLRP, { cells }: ConvergenceView): boolean {
  return cells !== undefined && !cells.has(actualLrpInstanceKey.cellId);
}
