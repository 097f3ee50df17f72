import type { ModificationTag } from '../messages/models.js';

/** Of a row that is inserted (docs/protocol/bbs.md §7). @param epoch a new UUID */
export function firstTag(epoch: string): ModificationTag {
  return { epoch, index: 0 };
}

/** Of a row that changes. */
export function nextTag({ epoch, index }: ModificationTag): ModificationTag {
  return { epoch, index: index + 1 };
}

/** Whether nothing was written between the two. */
export function isSameTag(a: ModificationTag, b: ModificationTag): boolean {
  return a.epoch === b.epoch && a.index === b.index;
}
