import { mkdir, readdir, readFile } from 'node:fs/promises';
import { setTimeout as delay } from 'node:timers/promises';
import { isBeneath } from '../../files/beneath.js';
import { HostRequirementError } from '../errors.js';
import { runHostProgram } from './host-program.js';

/** A line of `/proc/<pid>/mountinfo`. */
export interface MountPoint {
  path: string;
  /** What part of the file system is visible here; `/` unless it is a bind mount or a container's view. */
  root: string;
  fileSystem: string;
  source: string;
  /** Options of the file system itself, e.g. the controllers of a cgroup v1 hierarchy. */
  options: string[];
}

/** A mount as this process sees it. */
export interface FlaggedMount extends MountPoint {
  /** Options of this mount, e.g. `nosuid`. */
  flags: string[];
}

/** About ten times what a thousand containers need; takes up only what is used. */
const scratchSize = '256m';
const unmountLimitMs = 1_000;
const unmountRetryMs = 25;

/** Parses the text of a `mountinfo` file. */
export function parseMountInfo(text: string): FlaggedMount[] {
  return text
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => {
      // Optional fields of unknown number stand before the lone dash.
      const [left = '', right = ''] = line.split(' - ', 2);
      const [, , , root = '', path = '', flags = ''] = left.split(' ');
      const [fileSystem = '', source = '', options = ''] = right.split(' ');
      return {
        path: unescapeMountInfo(path),
        root: unescapeMountInfo(root),
        flags: flags.split(','),
        fileSystem,
        source: unescapeMountInfo(source),
        options: options.split(','),
      };
    });
}

function unescapeMountInfo(text: string): string {
  return text.replace(/\\([0-7]{3})/g, (_, digits: string) => String.fromCharCode(Number.parseInt(digits, 8)));
}

/** What is mounted in this process's mount namespace, in order of mounting. Reads a file, starts no process. */
export async function listMounts(): Promise<FlaggedMount[]> {
  return parseMountInfo(await readFile('/proc/self/mountinfo', 'utf8'));
}

/**
 * Mounts an overlay. `volatile` leaves out all syncing, which nobody needs for a layer that does not outlive a reboot:
 * without it an unmount would sync the whole file system of the upper layer.
 *
 * Paths may be relative to `directory`: all options together must fit into one page of memory. They have no colon, which
 * separates layers, and no comma, which separates options.
 */
export async function mountOverlay(options: {
  directory: string;
  /** Top first. */
  lower: string[];
  upper: string;
  work: string;
  target: string;
  volatile: boolean;
  /** Layers may hold owners and modes of files whose content lies further below. @default false */
  metacopy?: boolean;
}): Promise<void> {
  const parts = [
    `lowerdir=${options.lower.join(':')}`,
    `upperdir=${options.upper}`,
    `workdir=${options.work}`,
    ...(options.volatile ? ['volatile'] : []),
    ...(options.metacopy ? ['metacopy=on'] : []),
  ];
  const args = ['-t', 'overlay', 'overlay', '-o', parts.join(','), options.target];
  await runHostProgram('mount', 'mount', args, { cwd: options.directory });
}

/**
 * Mounts a file system in memory for small files, unless that was done before; a mount outlives the program that made
 * it, and ends with the boot.
 */
export async function mountScratch(target: string): Promise<void> {
  await mkdir(target, { recursive: true, mode: 0o711 });
  const isMounted = (await listMounts()).some(({ path, fileSystem }) => path === target && fileSystem === 'tmpfs');
  if (isMounted) return;
  await run('mount', ['-t', 'tmpfs', '-o', `nosuid,nodev,size=${scratchSize},mode=711`, 'tmpfs', target]);
}

/**
 * Mounts a directory tree at a second place, unless that was done before: what is mounted in either later shows in both.
 */
export async function aliasMount(directory: string, alias: string): Promise<void> {
  const mounted = new Set((await listMounts()).map(({ path }) => path));
  if (mounted.has(alias)) return;
  // Only a mount can be shared; the directory becomes one.
  if (mounted.has(directory)) await run('mount', ['--make-shared', directory]);
  else await run('mount', ['--rbind', '--make-shared', directory, directory]);
  await run('mount', ['--rbind', directory, alias]);
}

/**
 * Mounts an ext4 image through a loop device that vanishes with the unmount (autoclear). No barriers: a flush would
 * become an fsync of the image, and an image is never looked at again after a power cut. No `init_itable`: the kernel
 * would fill the inode tables of a sparse image with zeros that are there already.
 */
export async function mountImage(image: string, target: string): Promise<void> {
  await run('mount', ['-t', 'ext4', '-o', 'loop,noatime,barrier=0,noinit_itable', image, target]);
}

/** Mounts the v1 hierarchy of one controller, under a source name by which its owner finds it again. */
export async function mountCgroupController(controller: string, source: string, target: string): Promise<void> {
  await run('mount', ['-t', 'cgroup', '-o', controller, source, target]);
}

/**
 * Unmounts in the given order, in one process; targets that are not mounted are passed over. A target that stays busy
 * for a second is detached, so that it goes away with its last user.
 */
export async function unmount(targets: string[]): Promise<void> {
  const giveUpAt = Date.now() + unmountLimitMs;
  for (;;) {
    const mounted = new Set((await listMounts()).map((mount) => mount.path));
    const remaining = targets.filter((target) => mounted.has(target));
    if (remaining.length === 0) return;
    try {
      await run('umount', remaining);
    } catch (error) {
      if (Date.now() > giveUpAt) {
        await run('umount', ['--lazy', ...remaining]);
        return;
      }
      if (error instanceof HostRequirementError) throw error;
      await delay(unmountRetryMs);
    }
  }
}

/** Unmounts what nobody uses, and leaves alone what somebody does. */
export async function unmountUnlessUsed(target: string): Promise<void> {
  try {
    await run('umount', [target]);
  } catch (error) {
    if (error instanceof HostRequirementError) throw error;
  }
}

export interface LoopDevice {
  /** `/dev/loop<n>` */
  device: string;
  /** The file behind it; the kernel's ` (deleted)` is cut off. */
  file: string;
}

/** Loop devices whose file lies beneath `directory`, found in sysfs without a process. */
export async function loopDevicesBeneath(directory: string): Promise<LoopDevice[]> {
  const names = (await readdir('/sys/block')).filter((name) => name.startsWith('loop'));
  const devices = await Promise.all(
    names.map(async (name) => {
      // Absent while the device is free.
      const text = await readFile(`/sys/block/${name}/loop/backing_file`, 'utf8').catch(() => '');
      return { device: `/dev/${name}`, file: text.trimEnd().replace(/ \(deleted\)$/, '') };
    }),
  );
  return devices.filter(({ file }) => file !== '' && isBeneath(directory, file));
}

/** Lets a loop device see that its file has grown. */
export async function growLoopDevice(device: string): Promise<void> {
  await run('losetup', ['--set-capacity', device]);
}

/** Frees a loop device; one that is still in use goes away with its last user. */
export async function detachLoopDevice(device: string): Promise<void> {
  await run('losetup', ['--detach', device]);
}

async function run(program: string, args: string[]): Promise<void> {
  await runHostProgram('mount', program, args);
}
