import type { MountPoint } from '../mounts.js';

/** Where control groups are on this host. */
export type Hierarchies =
  | {
      version: 1;
      /** Mount point by controller. */
      controllers: Map<string, string>;
      /** Every mount point, named and unified hierarchies included: runtimes make groups in all of them. */
      all: string[];
      /** The cgroup2 mount beside them (a hybrid host). */
      unified?: string;
    }
  | { version: 2; root: string };

/** Source of the mounts that engines make, by which any of them knows them again. */
export const ownMountSource = 'isthmus';

/** Decides from the host's mounts; undefined when there is no usable hierarchy. */
export function findHierarchies(mounts: MountPoint[]): Hierarchies | undefined {
  const v1 = mounts.filter((mount) => mount.fileSystem === 'cgroup');
  const v2 = mounts.find((mount) => mount.fileSystem === 'cgroup2');
  const controllers = new Map<string, string>();
  for (const mount of v1) {
    for (const option of mount.options) if (!controllers.has(option)) controllers.set(option, mount.path);
  }
  if (controllers.has('memory')) {
    const all = [...v1, ...(v2 ? [v2] : [])].map((mount) => mount.path);
    return { version: 1, controllers, all: [...new Set(all)], ...(v2 && { unified: v2.path }) };
  }
  return v2 && { version: 2, root: v2.path };
}

/** v1 names of the controllers that `cgroup.controllers` of a hybrid host's cgroup2 mount lists. */
export function controllersToMount(unifiedControllers: string): string[] {
  return unifiedControllers
    .trim()
    .split(/\s+/)
    .filter((name) => name !== '')
    .map((name) => (name === 'io' ? 'blkio' : name));
}
