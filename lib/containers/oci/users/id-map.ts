import { createHash } from 'node:crypto';

/**
 * The user namespace of unprivileged containers (docs/protocol/containers.md §3.2): root is the last id of the host, and
 * whose ids all others are is a matter of configuration. By default they are their own, so that files look the same on
 * the host as within.
 */

/** Who root of an unprivileged container is on the host. */
export const rootOutside = 4_294_967_294;

/** Ids of the host that 1, 2, ... of a container stand for: the first of them, and how many. */
export interface IdRange {
  start: number;
  length: number;
}

/** Who users and groups of an unprivileged container other than root are on the host. */
export interface IdMap {
  readonly users: IdRange;
  readonly groups: IdRange;
}

/** Ids in a container, its first and how many, with the first of the ids on the host that they stand for. */
export interface IdMapping {
  containerID: number;
  hostID: number;
  size: number;
}

const everyId: IdRange = { start: 1, length: rootOutside - 1 };

/** Everybody but root is himself. */
export const ownIds: IdMap = { users: everyId, groups: everyId };

/** The map of users or of groups, as a runtime and the kernel want it. */
export function mappingsOf({ start, length }: IdRange): IdMapping[] {
  return [
    { containerID: 0, hostID: rootOutside, size: 1 },
    { containerID: 1, hostID: start, size: length },
  ];
}

/** The id on the host of an id in an unprivileged container; undefined when the container has no such id. */
export function idOutside({ start, length }: IdRange, id: number): number | undefined {
  if (id === 0) return rootOutside;
  return id > 0 && id <= length ? start + id - 1 : undefined;
}

/** Tells maps apart in names; empty for `ownIds`. */
export function idMapTag({ users, groups }: IdMap): string {
  const numbers = [users.start, users.length, groups.start, groups.length].join(' ');
  const own = [everyId.start, everyId.length, everyId.start, everyId.length].join(' ');
  return numbers === own ? '' : createHash('sha256').update(numbers).digest('hex').slice(0, tagLength);
}

const tagLength = 12;
