import { type Outcome, refused } from '../decisions/actual-lrps/outcome.js';
import { differences, type Rows } from '../decisions/actual-lrps/rows.js';
import { groupEvents } from '../decisions/events/group-events.js';
import { instanceEvents } from '../decisions/events/instance-events.js';
import type { Moment } from '../decisions/moment.js';
import { invalidRequest } from '../errors.js';
import type { Image } from '../image/image.js';
import type { LrpStart } from '../peers/peers.js';
import type { RowChange } from '../storage/store.js';
import { fitsActualLrp } from '../validation/column-widths.js';
import type { Board } from './board.js';

/** One index of one process. */
export interface IndexKey {
  readonly processGuid: string;
  readonly index: number;
}

/** What is to become of one index, decided and not yet carried out. */
export interface IndexChange {
  readonly key: IndexKey;
  readonly before: Rows;
  readonly outcome: Outcome;
}

export function lockOf({ processGuid, index }: IndexKey): string {
  return `lrp/${processGuid}/${index}`;
}

/** Carries out what is decided about the rows of an index. */
export class Indices {
  constructor(private readonly board: Board) {}

  /**
   * Decides about one index and carries it out. What the outcome asks of others is the caller's to do.
   *
   * @throws as Board.hold and Board.commit
   */
  change<O extends Outcome>(
    key: IndexKey,
    traceId: string,
    decide: (rows: Rows, moment: Moment) => O,
  ): Promise<O | Outcome> {
    return this.board.hold([lockOf(key)], async () => {
      const change = this.decide(key, decide);
      if (change.outcome.after !== change.before) {
        await this.board.commit(rowChanges(change), (image) => apply(image, change));
        this.tell([change], traceId);
      }
      return change.outcome as O | Outcome;
    });
  }

  /** To be called while the index is held. */
  decide(key: IndexKey, decide: (rows: Rows, moment: Moment) => Outcome): IndexChange {
    const before = this.board.image.actual.at(key.processGuid, key.index);
    const outcome = decide(before, this.board.moment());
    return { key, before, outcome: fits(before, outcome) ? outcome : refused(before, invalidRequest) };
  }

  tell(changes: readonly IndexChange[], traceId: string): void {
    this.board.events.tellLrps({
      instance: () => changes.flatMap(({ outcome }) => instanceEvents(outcome.changes, traceId)),
      group: () => changes.flatMap(({ before, outcome }) => groupEvents(before, outcome.after, outcome.changes)),
    });
  }

  /** What the auctioneer is asked for; nothing where nobody desires the process any more. */
  startsOf(processGuid: string, indices: readonly number[]): LrpStart[] {
    const info = indices.length > 0 ? this.board.image.desired.schedulingInfo(processGuid) : undefined;
    return info ? [{ info, indices }] : [];
  }
}

/** What must be written for it. */
export function rowChanges({ before, outcome }: IndexChange): RowChange[] {
  return differences(before, outcome.after).map((pair) => ({ table: 'actual_lrps', ...pair }));
}

export function apply(image: Image, { key, outcome }: IndexChange): void {
  image.actual.set(key.processGuid, key.index, outcome.after);
}

function fits(before: Rows, { after }: Outcome): boolean {
  return differences(before, after).every((pair) => !pair.after || fitsActualLrp(pair.after));
}
