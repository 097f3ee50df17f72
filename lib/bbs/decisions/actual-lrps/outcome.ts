import type { BbsError } from '../../errors.js';
import type { ActualLRP } from '../../messages/models.js';
import { type Place, placeOf, type Rows } from './rows.js';

/**
 * What became of one instance: it appeared, went, or is what it was before in another state or presence. Events tell
 * of it (docs/protocol/bbs.md §11.3).
 */
export interface Change {
  readonly before?: ActualLRP | undefined;
  /** With reasons in full; the stored row has them cut. */
  readonly after?: ActualLRP | undefined;
  /** The instance crashed, which is told even when the row just waits for a cell again. */
  readonly isCrash?: boolean;
}

/** What a call means for the rows of one index. */
export interface Outcome {
  /** What the caller is told; then nothing changes. */
  readonly error?: BbsError | undefined;
  /** The rows to be stored, the same object when there is nothing to write. */
  readonly after: Rows;
  /** In the order in which they happened. */
  readonly changes: readonly Change[];
  /** The index waits for a cell: the auctioneer must be asked. */
  readonly isStartWanted: boolean;
  /**
   * Instances that their reps must stop. Their rows stay until the reps report them gone; changes that come with them
   * are told when the reps have accepted.
   */
  readonly stops: readonly ActualLRP[];
}

export function unchanged(rows: Rows): Outcome {
  return { after: rows, changes: [], isStartWanted: false, stops: [] };
}

export function refused(rows: Rows, error: BbsError): Outcome {
  return { ...unchanged(rows), error };
}

export function changed(after: Rows, changes: readonly Change[], { isStartWanted = false } = {}): Outcome {
  return { after, changes, isStartWanted, stops: [] };
}

/** The row of a place goes. */
export function removed(rows: Rows, place: Place): Outcome {
  const row = rows[place];
  return row ? changed({ ...rows, [place]: undefined }, [{ before: row }]) : unchanged(rows);
}

/** A row takes the place of the one before, or one that was empty. */
export function replaced(rows: Rows, after: ActualLRP, options?: { isStartWanted?: boolean }): Outcome {
  const place = placeOf(after);
  return changed({ ...rows, [place]: after }, [{ before: rows[place], after }], options);
}

/** A second decision over what the first one left, if that was no error. */
export function andThen(first: Outcome, decide: (rows: Rows) => Outcome): Outcome {
  if (first.error) return first;
  const second = decide(first.after);
  return {
    error: second.error,
    after: second.after,
    changes: [...first.changes, ...second.changes],
    isStartWanted: first.isStartWanted || second.isStartWanted,
    stops: [...first.stops, ...second.stops],
  };
}
