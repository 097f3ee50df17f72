import type { ActualLRP, DesiredLRP, Task } from '../messages/models.js';

/**
 * Whether rows fit the columns of upstream's schema, which count characters (docs/protocol/bbs.md §15). What does not is
 * refused as invalidRequest, without a word about the field; so is the character NUL, which PostgreSQL has no place for.
 * Reasons are cut instead.
 */
const nameLength = 255;
const rootFileSystemLength = 1024;

export function fitsDesiredLrp(row: DesiredLRP): boolean {
  const names = [row.processGuid, row.domain, row.logGuid];
  const texts = [row.rootFs, row.annotation];
  return names.every(isName) && lengthOf(row.rootFs) <= rootFileSystemLength && !texts.some(hasNul);
}

export function fitsActualLrp({ actualLrpKey, actualLrpInstanceKey, availabilityZone }: ActualLRP): boolean {
  const { instanceGuid, cellId } = actualLrpInstanceKey;
  return [actualLrpKey.processGuid, actualLrpKey.domain, instanceGuid, cellId, availabilityZone].every(isName);
}

export function fitsTask({ taskGuid, domain, cellId }: Task): boolean {
  return [taskGuid, domain, cellId].every(isName);
}

export function fitsDomain(domain: string): boolean {
  return isName(domain);
}

function isName(text: string): boolean {
  return lengthOf(text) <= nameLength && !hasNul(text);
}

function hasNul(text: string): boolean {
  return text.includes('\0');
}

/** In characters; a text that is short in units of UTF-16 is short in characters too. */
function lengthOf(text: string): number {
  return text.length <= nameLength ? text.length : [...text].length;
}
