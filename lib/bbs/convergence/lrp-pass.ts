import { setImmediate as nextTurn } from 'node:timers/promises';
import { errorData, type Logger } from '../../logging/logger.js';
import type { Board } from '../board/board.js';
import type { DomainCalls } from '../board/domain-calls.js';
import type { IndexKey, Indices } from '../board/indices.js';
import { unchanged } from '../decisions/actual-lrps/outcome.js';
import { isOccupied } from '../decisions/actual-lrps/rows.js';
import { countLrps, type LrpCensus } from '../decisions/convergence/census.js';
import { applyStep, type ConvergenceView, type LrpStep, planProcess } from '../decisions/convergence/lrps.js';
import { expiredDomains, freshDomains, isFresh } from '../decisions/domains.js';
import type { ActualLRP, CellPresence } from '../messages/models.js';
import type { Auctions, Reps } from '../peers/peers.js';
import { inParallel } from './in-parallel.js';

export interface LrpPassOptions {
  board: Board;
  indices: Indices;
  domains: DomainCalls;
  auctions: Auctions;
  reps: Reps;
  /** Steps at the same time. */
  workers: number;
  logger: Logger;
}

export interface LrpPassResult {
  census: LrpCensus;
  freshDomains: ReadonlySet<string>;
}

/** Other work comes in between after so long, ms. */
const sliceMs = 5;

/** Brings actual LRPs to what is desired (docs/protocol/bbs.md §12.1, §12.2). */
export class LrpPass {
  /** Instances that followers take for gone already, while their reps have not said so. */
  readonly #toldGone = new WeakSet<ActualLRP>();

  constructor(private readonly options: LrpPassOptions) {}

  /** @param cells those that are there; undefined when that is not known */
  async run(cells: ReadonlyMap<string, CellPresence> | undefined, isGoingOn: () => boolean): Promise<LrpPassResult> {
    const { board } = this.options;
    await this.#pruneDomains();
    const view = this.#view(cells);
    const { actual, desired } = board.image;
    const steps = await this.#plan(view, isGoingOn);
    const census = countLrps({ desired: desired.outlines, actual: actual.byGuid }, view, steps);
    const starts = new Map<string, number[]>();
    await inParallel(steps, this.options.workers, (step) => this.#act(step, cells, starts), isGoingOn);
    this.#requestAuctions(starts);
    return { census, freshDomains: view.freshDomains };
  }

  async #pruneDomains(): Promise<void> {
    const { board, domains } = this.options;
    const now = board.now();
    await domains.prune(expiredDomains(board.image.domains, now), (expiresAt) => !isFresh(expiresAt, now));
  }

  #view(cells: ReadonlyMap<string, CellPresence> | undefined): ConvergenceView {
    const { board } = this.options;
    const now = board.now();
    return { now, freshDomains: freshDomains(board.image.domains, now), cells: cells && new Set(cells.keys()) };
  }

  /** Walks all processes, a slice at a time: requests are answered in between. */
  async #plan(view: ConvergenceView, isGoingOn: () => boolean): Promise<LrpStep[]> {
    const { actual, desired } = this.options.board.image;
    const steps: LrpStep[] = [];
    const slice = new Slice();
    // What nobody desires goes first: it takes room.
    for (const [guid, indices] of actual.byGuid) {
      if (!desired.outlines.has(guid)) steps.push(...planProcess(undefined, indices, view));
      if (slice.isOver()) await slice.pause();
      if (!isGoingOn()) return steps;
    }
    for (const [guid, outline] of desired.outlines) {
      steps.push(...planProcess(outline, actual.of(guid), view));
      if (slice.isOver()) await slice.pause();
      if (!isGoingOn()) return steps;
    }
    return steps;
  }

  async #act(
    step: LrpStep,
    cells: ReadonlyMap<string, CellPresence> | undefined,
    starts: Map<string, number[]>,
  ): Promise<void> {
    const key = keyOf(step);
    try {
      if (step.kind === 'update') return await this.#update(step, cells);
      await this.#change(key, step, cells, starts);
    } catch (error) {
      const { processGuid, index } = key;
      const data = { step: step.kind, process_guid: processGuid, index };
      this.options.logger.warn('bbs.convergence.step-failed', { ...data, ...errorData(error) });
    }
  }

  async #change(
    key: IndexKey,
    step: Exclude<LrpStep, { kind: 'update' }>,
    cells: ReadonlyMap<string, CellPresence> | undefined,
    starts: Map<string, number[]>,
  ): Promise<void> {
    const { indices } = this.options;
    const isCellPresent = (cellId: string) => cells === undefined || cells.has(cellId);
    const outcome = await indices.change(key, '', (rows, moment) =>
      this.#isStillDue(step) ? applyStep(rows, step, { ...moment, isCellPresent }) : unchanged(rows),
    );
    if (outcome.error) return;
    if (outcome.isStartWanted) addStart(starts, key);
    for (const instance of outcome.stops) {
      if (!(await this.#stop(instance, cells)) || this.#toldGone.has(instance)) continue;
      this.#toldGone.add(instance);
      indices.tell([{ key, before: outcome.after, outcome }], '');
    }
  }

  /** What is desired may have changed since the step was planned: an index has come to be wanted, or is not any more. */
  #isStillDue(step: Exclude<LrpStep, { kind: 'update' }>): boolean {
    if (step.kind !== 'create' && step.kind !== 'retire') return true;
    const { processGuid, index } = keyOf(step);
    const desired = this.options.board.image.desired.outlines.get(processGuid);
    const isWanted = desired !== undefined && index < desired.instances;
    return isWanted === (step.kind === 'create');
  }

  /** @returns whether its rep knows now */
  async #stop(instance: ActualLRP, cells: ReadonlyMap<string, CellPresence> | undefined): Promise<boolean> {
    const cell = cells?.get(instance.actualLrpInstanceKey.cellId);
    if (cell) await this.options.reps.stopInstance(cell, instance, '');
    return cell !== undefined;
  }

  async #update(
    { update }: Extract<LrpStep, { kind: 'update' }>,
    cells: ReadonlyMap<string, CellPresence> | undefined,
  ): Promise<void> {
    const cell = cells?.get(update.instance.actualLrpInstanceKey.cellId);
    if (cell && isOccupied(update.instance)) await this.options.reps.updateInstance(cell, update, '');
  }

  #requestAuctions(starts: ReadonlyMap<string, readonly number[]>): void {
    const { auctions, indices } = this.options;
    // One element for each index, as upstream.
    const requests = [...starts].flatMap(([processGuid, list]) =>
      list.flatMap((index) => indices.startsOf(processGuid, [index])),
    );
    if (requests.length > 0) auctions.lrps(requests, '');
  }
}

/** One turn of the processor's time. */
class Slice {
  #end = performance.now() + sliceMs;

  isOver(): boolean {
    return performance.now() >= this.#end;
  }

  async pause(): Promise<void> {
    await nextTurn();
    this.#end = performance.now() + sliceMs;
  }
}

function keyOf(step: LrpStep): IndexKey {
  switch (step.kind) {
    case 'create':
      return step.key;
    case 'update':
      return step.update.instance.actualLrpKey;
    default:
      return step.row.actualLrpKey;
  }
}

function addStart(starts: Map<string, number[]>, { processGuid, index }: IndexKey): void {
  const indices = starts.get(processGuid);
  if (indices) indices.push(index);
  else starts.set(processGuid, [index]);
}
