import { realpath } from 'node:fs/promises';
import { join, relative } from 'node:path';
import { isBeneath } from '../../../files/beneath.js';
import type { BindMount } from '../../engine.js';
import { type FlaggedMount, listMounts } from '../mounts.js';

/** A mount of the OCI runtime specification. */
export interface BundleMount {
  destination: string;
  type: string;
  source: string;
  options: string[];
}

/** Where init and the archiver are found inside every container. */
export const initPathInContainer = '/tmp/garden-init';
/** Its last component must begin with `busybox`: the program takes the applet from its own name otherwise. */
export const toolboxPathInContainer = '/dev/busybox';

/** Where the program that sets extended attributes is found. */
export const attributeToolPathInContainer = '/dev/garden-attributes';

/** What every root file system gets from the kernel (docs/protocol/containers.md §3.2). */
export const kernelMounts: BundleMount[] = [
  { destination: '/proc', type: 'proc', source: 'proc', options: ['nosuid', 'noexec', 'nodev'] },
  { destination: '/dev', type: 'tmpfs', source: 'tmpfs', options: ['nosuid', 'noexec', 'strictatime', 'mode=755'] },
  {
    destination: '/dev/pts',
    type: 'devpts',
    source: 'devpts',
    options: ['nosuid', 'noexec', 'newinstance', 'gid=5', 'ptmxmode=0666', 'mode=0620'],
  },
  {
    destination: '/dev/shm',
    type: 'tmpfs',
    source: 'shm',
    options: ['nosuid', 'noexec', 'nodev', 'mode=1777'],
  },
  { destination: '/dev/mqueue', type: 'mqueue', source: 'mqueue', options: ['nosuid', 'noexec', 'nodev'] },
  { destination: '/sys', type: 'sysfs', source: 'sysfs', options: ['nosuid', 'noexec', 'nodev', 'ro'] },
];

/** Lets programs read their limits; on cgroup v2 the view would show the host's groups. */
export const cgroupMount: BundleMount = {
  destination: '/sys/fs/cgroup',
  type: 'cgroup',
  source: 'cgroup',
  options: ['ro', 'nosuid', 'noexec', 'nodev'],
};

/** Flags that a user namespace must not take away from what it is given. */
const keptFlags = ['nosuid', 'nodev', 'noexec', 'noatime', 'nodiratime', 'relatime'];

/** Programs and files of the host that every container has. */
export interface OwnFiles {
  /** Static programs. */
  init: string;
  toolbox: string;
  /** Directory with the program that sets extended attributes; absent: this host has none. */
  attributeTool?: string;
}

/** Mounts of the engine's own programs, the same for all containers; to be made once. */
export async function programMounts(files: OwnFiles): Promise<BundleMount[]> {
  const places: [source: string, destination: string][] = [
    [files.init, initPathInContainer],
    [files.toolbox, toolboxPathInContainer],
    ...(files.attributeTool === undefined
      ? []
      : [[files.attributeTool, attributeToolPathInContainer] satisfies [string, string]]),
  ];
  const mounted = await listMounts();
  return Promise.all(
    places.map(async ([source, destination]) => ({
      destination,
      type: 'bind',
      source,
      options: ['bind', 'ro', ...flagsOf(await realpath(source), mounted)],
    })),
  );
}

/** Mounts of the files that stand in for `/etc/hosts` and `/etc/resolv.conf`. */
export function networkFileMounts(hostsFile: string, resolvConfFile: string): BundleMount[] {
  const places = [
    { source: hostsFile, destination: '/etc/hosts' },
    { source: resolvConfFile, destination: '/etc/resolv.conf' },
  ];
  return places.map((place) => ({ ...place, type: 'bind', options: ['bind', 'rw'] }));
}

/**
 * Bind mounts that a client asks for, as usable as their sources are on the host or read-only throughout. What is
 * mounted below a source is mounted again by itself: runtimes differ in what they do of it in a user namespace. Each
 * keeps the flags of the mount that it comes from (docs/protocol/containers.md §3.6).
 */
export async function userMounts(bindMounts: BindMount[]): Promise<BundleMount[]> {
  if (bindMounts.length === 0) return [];
  const mounted = await listMounts();
  const expanded = await Promise.all(
    bindMounts.map(async ({ source, destination, mode }) => {
      const path = await realpath(source);
      const below = mounted.filter((mount) => mount.path !== path && isBeneath(path, mount.path));
      const nested = [...new Set(below.map((mount) => mount.path))];
      return [path, ...nested].map((origin) => ({
        destination: join(destination, relative(path, origin)),
        type: 'bind',
        source: origin,
        options: ['rbind', mode, ...flagsOf(origin, mounted)],
      }));
    }),
  );
  return expanded.flat();
}

/**
 * Of mounts at one place the last one counts.
 * @throws where the root directory is no mount, as in a plain chroot: no runtime could leave it for a container's
 */
function flagsOf(path: string, mounted: FlaggedMount[]): string[] {
  const mount = mounted
    .filter((candidate) => isBeneath(candidate.path, path))
    .reduce<FlaggedMount | undefined>(
      (best, candidate) => (best && best.path.length > candidate.path.length ? best : candidate),
      undefined,
    );
  if (!mount) {
    throw new Error(`${path} lies on no mount: in a chroot, mount its directory onto itself (mount --bind) before`);
  }
  return keptFlags.filter((flag) => mount.flags.includes(flag));
}
