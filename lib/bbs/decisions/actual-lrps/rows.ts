import { ActualLRP, type ActualLRPInstanceKey, type ActualLRPKey, ActualLRPPresence } from '../../messages/models.js';
import { firstTag } from '../modification-tag.js';
import type { Moment } from '../moment.js';

/** docs/protocol/bbs.md §7 */
export const states = {
  unclaimed: 'UNCLAIMED',
  claimed: 'CLAIMED',
  running: 'RUNNING',
  crashed: 'CRASHED',
} as const;

/**
 * All rows of one index of a process, at most one for each presence (docs/protocol/bbs.md §7).
 *
 *   ordinary    any state
 *   evacuating  RUNNING: what goes on beside its replacement until that runs
 *   suspect     CLAIMED or RUNNING: its cell is not seen any more
 */
export interface Rows {
  readonly ordinary?: ActualLRP | undefined;
  readonly evacuating?: ActualLRP | undefined;
  readonly suspect?: ActualLRP | undefined;
}

export type Place = keyof Rows;

export const noRows: Rows = {};

const presences: Readonly<Record<Place, ActualLRPPresence>> = {
  ordinary: ActualLRPPresence.ORDINARY,
  evacuating: ActualLRPPresence.EVACUATING,
  suspect: ActualLRPPresence.SUSPECT,
};

export const places = Object.keys(presences) as readonly Place[];

export function presenceOf(place: Place): ActualLRPPresence {
  return presences[place];
}

/** Where a row of that presence belongs; rows of no known presence count as ordinary. */
export function placeOf({ presence }: ActualLRP): Place {
  return places.find((place) => presences[place] === presence) ?? 'ordinary';
}

/** The rows that there are. */
export function listRows(rows: Rows): ActualLRP[] {
  return places.map((place) => rows[place]).filter((row) => row !== undefined);
}

/** @param list rows of one index */
export function collectRows(list: readonly ActualLRP[]): Rows {
  return Object.fromEntries(list.map((row) => [placeOf(row), row]));
}

/** What must be written so that one becomes the other: without `before` an insert, without `after` a deletion. */
export function differences(
  before: Rows,
  after: Rows,
): { readonly before: ActualLRP | undefined; readonly after: ActualLRP | undefined }[] {
  return places
    .map((place) => ({ before: before[place], after: after[place] }))
    .filter((pair) => pair.before !== pair.after);
}

export function isSameInstance(a: ActualLRPInstanceKey, b: ActualLRPInstanceKey): boolean {
  return a.instanceGuid === b.instanceGuid && a.cellId === b.cellId;
}

export function isSameKey(a: ActualLRPKey, b: ActualLRPKey): boolean {
  return a.processGuid === b.processGuid && a.index === b.index && a.domain === b.domain;
}

/** Where the row of an instance is. An empty key is nobody's. */
export function findInstance(rows: Rows, instanceKey: ActualLRPInstanceKey): Place | undefined {
  if (instanceKey.instanceGuid === '' && instanceKey.cellId === '') return undefined;
  return places.find((place) => {
    const row = rows[place];
    return row !== undefined && isSameInstance(row.actualLrpInstanceKey, instanceKey);
  });
}

/** Whether an instance has it: it is claimed or runs. */
export function isOccupied({ state }: ActualLRP): boolean {
  return state === states.claimed || state === states.running;
}

/** A row that waits for a cell. */
export function unclaimedRow(key: ActualLRPKey, { now, newEpoch }: Moment): ActualLRP {
  return ActualLRP.create({
    actualLrpKey: key,
    state: states.unclaimed,
    since: now,
    modificationTag: firstTag(newEpoch()),
    routable: false,
  });
}
