import { errorData, type Logger } from '../../logging/logger.js';
import { stop } from '../decisions/actual-lrps/lifecycle.js';
import { listRows } from '../decisions/actual-lrps/rows.js';
import { create } from '../decisions/actual-lrps/upkeep.js';
import { type DesiredOutcome, desire, instanceUpdateFor, remove, update } from '../decisions/desired-lrps/lifecycle.js';
import { desiredEvents } from '../decisions/events/desired-events.js';
import { type BbsError, failedValidation, invalidRequest } from '../errors.js';
import type { ActualLRP, CellPresence, DesiredLRP, DesiredLRPUpdate } from '../messages/models.js';
import type { Auctions, Cells, Reps } from '../peers/peers.js';
import { traceData } from '../request-id.js';
import { fitsDesiredLrp } from '../validation/column-widths.js';
import { invalidField } from '../validation/findings.js';
import type { Board } from './board.js';
import { apply, type IndexChange, type Indices, lockOf, rowChanges } from './indices.js';

export interface DesiredLrpCallsOptions {
  board: Board;
  indices: Indices;
  auctions: Auctions;
  cells: Cells;
  reps: Reps;
  /** Of one desired LRP; more are refused. */
  maximumInstances: number;
  logger: Logger;
}

/** So many rows are inserted in one transaction. */
const chunkSize = 1000;

/** The calls about desired LRPs (docs/protocol/bbs.md §6), carried out. */
export class DesiredLrpCalls {
  constructor(private readonly options: DesiredLrpCallsOptions) {}

  async desire(desired: DesiredLRP, traceId: string): Promise<BbsError | undefined> {
    if (!fitsDesiredLrp(desired)) return invalidRequest;
    if (this.#isTooMany(desired.instances)) return failedValidation([invalidField('instances')]);
    return this.#change(desired.processGuid, traceId, (before) => desire(before, desired, this.options.board.moment()));
  }

  async update(processGuid: string, change: DesiredLRPUpdate, traceId: string): Promise<BbsError | undefined> {
    if (this.#isTooMany(change.instances ?? 0)) return failedValidation([invalidField('instances')]);
    return this.#change(processGuid, traceId, (before) => update(before, change));
  }

  async remove(processGuid: string, traceId: string): Promise<BbsError | undefined> {
    return this.#change(processGuid, traceId, remove);
  }

  #isTooMany(instances: number): boolean {
    return instances > this.options.maximumInstances;
  }

  #change(
    processGuid: string,
    traceId: string,
    decide: (before: DesiredLRP | undefined) => DesiredOutcome,
  ): Promise<BbsError | undefined> {
    const { board } = this.options;
    return board.hold([`desired/${processGuid}`], async () => {
      const before = board.image.desired.get(processGuid);
      const outcome = decide(before);
      if (outcome.error) return outcome.error;
      if (outcome.after && !fitsDesiredLrp(outcome.after)) return invalidRequest;
      await this.#carryOut(processGuid, before, outcome, traceId);
      return undefined;
    });
  }

  /** What comes after the row itself is logged when it fails: convergence makes up for it. */
  async #carryOut(
    processGuid: string,
    before: DesiredLRP | undefined,
    outcome: DesiredOutcome,
    traceId: string,
  ): Promise<void> {
    const { auctions, indices, logger } = this.options;
    const { after, indicesToCreate, stopFrom, instanceUpdate } = outcome;
    const created = await this.#store({ before, after }, indicesToCreate.slice(0, chunkSize), processGuid, traceId);
    try {
      for (let from = chunkSize; from < indicesToCreate.length; from += chunkSize) {
        const chunk = indicesToCreate.slice(from, from + chunkSize);
        created.push(...(await this.#store(undefined, chunk, processGuid, traceId)));
      }
      if (stopFrom !== undefined) await this.#stopFrom(processGuid, stopFrom, traceId);
    } catch (error) {
      const data = { process_guid: processGuid, ...traceData(traceId) };
      logger.error('bbs.desired-lrp.not-completed', { ...data, ...errorData(error) });
    }
    if (created.length > 0) auctions.lrps(indices.startsOf(processGuid, created), traceId);
    if (after) this.#updateInstances(after, instanceUpdate, traceId);
  }

  /**
   * Writes the row, where there is one, together with rows for instances.
   *
   * @returns the indices that wait for a cell now
   */
  async #store(
    row: { before: DesiredLRP | undefined; after: DesiredLRP | undefined } | undefined,
    indicesToCreate: readonly number[],
    processGuid: string,
    traceId: string,
  ): Promise<number[]> {
    const { board, indices } = this.options;
    const domain = (row?.after ?? board.image.desired.outlines.get(processGuid))?.domain ?? '';
    const keys = indicesToCreate.map((index) => ({ processGuid, index, domain }));
    return board.hold(keys.map(lockOf), async () => {
      const changes = keys
        .map((key) => indices.decide(key, (rows, moment) => create(rows, key, moment)))
        .filter(({ outcome }) => outcome.isStartWanted);
      await this.#commit(row, changes, processGuid);
      if (row) board.events.tellLrps({ desired: () => desiredEvents(row, traceId) });
      indices.tell(changes, traceId);
      return changes.map(({ key }) => key.index);
    });
  }

  #commit(
    row: { before: DesiredLRP | undefined; after: DesiredLRP | undefined } | undefined,
    changes: readonly IndexChange[],
    processGuid: string,
  ): Promise<void> {
    const desiredChanges = row ? [{ table: 'desired_lrps', ...row } as const] : [];
    return this.options.board.commit([...desiredChanges, ...changes.flatMap(rowChanges)], (image) => {
      if (row?.after) image.desired.set(row.after);
      else if (row) image.desired.delete(processGuid);
      for (const change of changes) apply(image, change);
    });
  }

  async #stopFrom(processGuid: string, from: number, traceId: string): Promise<void> {
    const { board, indices } = this.options;
    const tooMany = [...board.image.actual.of(processGuid).keys()].filter((index) => index >= from);
    const outcomes = await Promise.all(
      tooMany.map((index) => indices.change({ processGuid, index }, traceId, (rows) => stop(rows))),
    );
    for (const instance of outcomes.flatMap(({ stops }) => stops)) void this.#stop(instance, traceId);
  }

  /** Whose rep does not hear of it is found by convergence. */
  async #stop(instance: ActualLRP, traceId: string): Promise<void> {
    const tell = (cell: CellPresence) => this.options.reps.stopInstance(cell, instance, traceId);
    await this.#tellRep(instance, 'bbs.instance.not-stopped', traceId, tell);
  }

  #updateInstances(after: DesiredLRP, instanceUpdate: DesiredOutcome['instanceUpdate'], traceId: string): void {
    const { board, reps } = this.options;
    const rows = [...board.image.actual.of(after.processGuid).values()].flatMap(({ ordinary, suspect }) =>
      listRows({ ordinary, suspect }),
    );
    for (const row of rows) {
      const told = instanceUpdateFor(row, after, instanceUpdate);
      if (!told) continue;
      const tell = (cell: CellPresence) => reps.updateInstance(cell, told, traceId);
      void this.#tellRep(row, 'bbs.instance.not-updated', traceId, tell);
    }
  }

  async #tellRep(
    { actualLrpKey, actualLrpInstanceKey }: ActualLRP,
    failure: string,
    traceId: string,
    tell: (cell: CellPresence) => Promise<void>,
  ): Promise<void> {
    const { cellId, instanceGuid } = actualLrpInstanceKey;
    const { processGuid, index } = actualLrpKey;
    try {
      const cell = await this.options.cells.find(cellId);
      if (cell) await tell(cell);
    } catch (error) {
      const data = { process_guid: processGuid, index, instance_guid: instanceGuid, cell_id: cellId };
      this.options.logger.warn(failure, { ...data, ...traceData(traceId), ...errorData(error) });
    }
  }
}
