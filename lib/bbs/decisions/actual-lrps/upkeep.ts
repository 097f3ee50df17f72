import { type ActualLRP, type ActualLRPKey, ActualLRPPresence } from '../../messages/models.js';
import { isSameTag } from '../modification-tag.js';
import type { Moment } from '../moment.js';
import { unclaim } from './lifecycle.js';
import { changed, type Outcome, removed, replaced, unchanged } from './outcome.js';
import { listRows, placeOf, presenceOf, type Rows, states, unclaimedRow } from './rows.js';

/**
 * What convergence does to one index (docs/protocol/bbs.md §12.2). Where it acts on a row, it acts only when that is
 * still the row that it saw: an instance that has started meanwhile is left alone.
 */

/** The index has no row. Also what a desire and an update make. */
export function create(rows: Rows, key: ActualLRPKey, moment: Moment): Outcome {
  return rows.ordinary ? unchanged(rows) : replaced(rows, unclaimedRow(key, moment), { isStartWanted: true });
}

/** What crashed has waited long enough, what is unclaimed too long: the auctioneer must be asked. */
export function restart(rows: Rows, seen: ActualLRP, moment: Moment): Outcome {
  if (!isStill(rows, seen)) return unchanged(rows);
  return seen.state === states.unclaimed ? { ...unchanged(rows), isStartWanted: true } : unclaim(rows, moment);
}

/** The cell is gone. The instance may still run, so it is routed to until its replacement does. */
export function loseCell(rows: Rows, seen: ActualLRP, moment: Moment): Outcome {
  if (!isStill(rows, seen)) return unchanged(rows);
  if (rows.suspect) return unclaim(rows, moment);
  const suspect = { ...seen, presence: ActualLRPPresence.SUSPECT };
  const ordinary = unclaimedRow(seen.actualLrpKey, moment);
  return changed({ ...rows, ordinary, suspect }, [{ before: seen, after: suspect }, { after: ordinary }], {
    isStartWanted: true,
  });
}

/** The cell is back: its instance goes on, the replacement is not needed. */
export function promote(rows: Rows, seen: ActualLRP): Outcome {
  if (!isStill(rows, seen)) return unchanged(rows);
  const ordinary = { ...seen, presence: presenceOf('ordinary') };
  const displaced = rows.ordinary ? [{ before: rows.ordinary }] : [];
  return changed({ ...rows, ordinary, suspect: undefined }, [{ before: seen, after: ordinary }, ...displaced]);
}

/** Nobody needs the suspect instance, or the cell of the evacuating one is gone. */
export function dismiss(rows: Rows, seen: ActualLRP): Outcome {
  return isStill(rows, seen) ? removed(rows, placeOf(seen)) : unchanged(rows);
}

/** Decides only while the row is the one that was seen. */
export function whileStill(rows: Rows, seen: ActualLRP, decide: () => Outcome): Outcome {
  return isStill(rows, seen) ? decide() : unchanged(rows);
}

function isStill(rows: Rows, seen: ActualLRP): boolean {
  const present = listRows(rows).find((row) => row.presence === seen.presence);
  return (
    present !== undefined && present.state === seen.state && isSameTag(present.modificationTag, seen.modificationTag)
  );
}
