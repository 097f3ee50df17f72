import { setTimeout as pause } from 'node:timers/promises';
import {
  type EvacuationOutcome,
  evacuateClaimed,
  evacuateCrashed,
  evacuateRunning,
  evacuateStopped,
  removeEvacuating,
} from '../decisions/actual-lrps/evacuation.js';
import { claim, crash, fail, type RunningInstance, remove, retire, start } from '../decisions/actual-lrps/lifecycle.js';
import { type Outcome, unchanged } from '../decisions/actual-lrps/outcome.js';
import { isOccupied, type Rows, states } from '../decisions/actual-lrps/rows.js';
import type { Moment } from '../decisions/moment.js';
import type { BbsError } from '../errors.js';
import type { ActualLRP, ActualLRPInstanceKey, ActualLRPKey, CellPresence } from '../messages/models.js';
import type { Auctions, Cells, Reps } from '../peers/peers.js';
import type { Board } from './board.js';
import type { IndexKey, Indices } from './indices.js';

export interface ActualLrpCallsOptions {
  board: Board;
  indices: Indices;
  auctions: Auctions;
  cells: Cells;
  reps: Reps;
}

export interface CrashedInstance {
  key: ActualLRPKey;
  instanceKey: ActualLRPInstanceKey;
  /** May be empty. */
  reason: string;
}

/** What a call about one actual LRP answers. */
export type Result = BbsError | undefined;

/** What a rep is told that evacuates its cell. */
export interface EvacuationResult {
  error: Result;
  keepContainer: boolean;
}

/** A rep is asked so many times to stop an instance (docs/protocol/bbs.md §7.2). */
const stopAttempts = 5;
const firstPauseMs = 100;

/** The calls about actual LRPs (docs/protocol/bbs.md §7.2, §8), carried out. */
export class ActualLrpCalls {
  constructor(private readonly options: ActualLrpCallsOptions) {}

  async claim(key: IndexKey, instanceKey: ActualLRPInstanceKey, traceId: string): Promise<Result> {
    return (await this.#change(key, traceId, (rows, moment) => claim(rows, instanceKey, moment))).error;
  }

  async start(instance: RunningInstance, traceId: string): Promise<Result> {
    return (await this.#change(instance.key, traceId, (rows, moment) => start(rows, instance, moment))).error;
  }

  async crash(crashed: CrashedInstance, traceId: string): Promise<Result> {
    return (await this.#change(crashed.key, traceId, (rows, moment) => crash(rows, crashed, moment))).error;
  }

  async fail(key: IndexKey, placementError: string, traceId: string): Promise<Result> {
    return (await this.#change(key, traceId, (rows, moment) => fail(rows, placementError, moment))).error;
  }

  async remove(key: IndexKey, instanceKey: ActualLRPInstanceKey | undefined, traceId: string): Promise<Result> {
    return (await this.#change(key, traceId, (rows) => remove(rows, instanceKey))).error;
  }

  /** @throws when its cell cannot be looked up, or its rep does not accept */
  async retire(key: IndexKey, traceId: string): Promise<Result> {
    const { outcome, cell } = await this.#decideRetirement(key, traceId);
    const [instance] = outcome.stops;
    if (!instance || !cell) return outcome.error;
    await this.#stop(cell, instance, traceId);
    this.options.indices.tell([{ key, before: outcome.after, outcome }], traceId);
    return undefined;
  }

  async removeEvacuating(key: IndexKey, instanceKey: ActualLRPInstanceKey, traceId: string): Promise<Result> {
    return (await this.#change(key, traceId, (rows) => removeEvacuating(rows, instanceKey))).error;
  }

  evacuateClaimed(key: IndexKey, instanceKey: ActualLRPInstanceKey, traceId: string): Promise<EvacuationResult> {
    return this.#evacuate(key, traceId, (rows, moment) => evacuateClaimed(rows, instanceKey, moment));
  }

  evacuateCrashed(crashed: CrashedInstance, traceId: string): Promise<EvacuationResult> {
    return this.#evacuate(crashed.key, traceId, (rows, moment) => evacuateCrashed(rows, crashed, moment));
  }

  evacuateStopped(key: IndexKey, instanceKey: ActualLRPInstanceKey, traceId: string): Promise<EvacuationResult> {
    return this.#evacuate(key, traceId, (rows) => evacuateStopped(rows, instanceKey));
  }

  evacuateRunning(instance: RunningInstance, traceId: string): Promise<EvacuationResult> {
    const { processGuid } = instance.key;
    return this.#evacuate(instance.key, traceId, (rows, moment) => {
      const { desired, actual } = this.options.board.image;
      const runningCount = [...actual.of(processGuid).values()].filter(isRunning).length;
      return evacuateRunning(rows, { instance, desired: desired.outlines.get(processGuid), runningCount }, moment);
    });
  }

  async #evacuate(
    key: IndexKey,
    traceId: string,
    decide: (rows: Rows, moment: Moment) => EvacuationOutcome,
  ): Promise<EvacuationResult> {
    const outcome = await this.#change(key, traceId, decide);
    return { error: outcome.error, keepContainer: 'keepContainer' in outcome && outcome.keepContainer };
  }

  async #change<O extends Outcome>(
    key: IndexKey,
    traceId: string,
    decide: (rows: Rows, moment: Moment) => O,
  ): Promise<O | Outcome> {
    const { indices, auctions } = this.options;
    const outcome = await indices.change(key, traceId, decide);
    if (outcome.isStartWanted && !outcome.error) auctions.lrps(indices.startsOf(key.processGuid, [key.index]), traceId);
    return outcome;
  }

  /** The cell is looked up first, without holding the index, and again when the instance has moved meanwhile. */
  async #decideRetirement(
    key: IndexKey,
    traceId: string,
  ): Promise<{ outcome: Outcome; cell: CellPresence | undefined }> {
    const { board, cells, indices } = this.options;
    for (;;) {
      const cellId = occupiedCell(board.image.actual.at(key.processGuid, key.index));
      const cell = cellId === undefined ? undefined : await cells.find(cellId);
      let isAsSeen = true;
      const outcome = await indices.change(key, traceId, (rows) => {
        isAsSeen = occupiedCell(rows) === cellId;
        return isAsSeen ? retire(rows, () => cell !== undefined) : unchanged(rows);
      });
      if (isAsSeen) return { outcome, cell };
    }
  }

  async #stop(cell: CellPresence, instance: ActualLRP, traceId: string): Promise<void> {
    for (let attempt = 1; ; attempt += 1) {
      try {
        return await this.options.reps.stopInstance(cell, instance, traceId);
      } catch (error) {
        if (attempt === stopAttempts) throw error;
        await pause(firstPauseMs * 2 ** (attempt - 1));
      }
    }
  }
}

function occupiedCell({ ordinary }: Rows): string | undefined {
  return ordinary && isOccupied(ordinary) ? ordinary.actualLrpInstanceKey.cellId : undefined;
}

function isRunning({ ordinary }: Rows): boolean {
  return ordinary?.state === states.running;
}
