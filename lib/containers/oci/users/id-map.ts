/**
 * The user namespace of unprivileged containers (docs/protocol/containers.md §3.2): only root is somebody else outside,
 * so that files of all other users look the same on the host as within.
 */

/** Who root of an unprivileged container is on the host. */
export const rootOutside = 4_294_967_294;

/** Ids in a container, its first and how many, with the first of the ids on the host that they stand for. */
export interface IdMapping {
  containerID: number;
  hostID: number;
  size: number;
}

/** The map of user and of group ids alike. */
export const unprivilegedIdMap: readonly IdMapping[] = [
  { containerID: 0, hostID: rootOutside, size: 1 },
  { containerID: 1, hostID: 1, size: rootOutside - 1 },
];

/** The id on the host of an id in an unprivileged container. */
export function shiftId(id: number): number {
  return id === 0 ? rootOutside : id;
}
