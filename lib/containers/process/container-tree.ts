import { mkdir, rm, rmdir, stat, symlink } from 'node:fs/promises';
import { dirname, join, normalize } from 'node:path';
import { isBeneath, resolveBeneath } from '../../files/beneath.js';
import { runCommand } from '../../process/command.js';
import type { BindMount } from '../engine.js';
import { InvalidSpecError } from '../errors.js';

/** Where processes of a container find their files: a private tree, without any of the image's files. */
export interface ContainerTree {
  /** Absolute path of the tree on the host. */
  root: string;
  bindMounts: BindMount[];
}

const stickyForAll = 0o1777;

/**
 * Makes the tree: `home/vcap`, `tmp`, and a symbolic link per bind mount.
 * @throws InvalidSpecError for a bind mount that cannot be
 */
export async function createTree({ root, bindMounts }: ContainerTree): Promise<void> {
  await mkdir(join(root, 'home/vcap'), { recursive: true });
  await mkdir(join(root, 'tmp'), { mode: stickyForAll });
  for (const [position, mount] of bindMounts.entries()) {
    checkBindMount(mount, bindMounts.slice(0, position));
    await linkBindMount(root, mount);
  }
}

function checkBindMount({ source, destination }: BindMount, earlier: BindMount[]): void {
  if (!source.startsWith('/')) throw new InvalidSpecError(`bindMounts: source ${source} is not absolute`);
  if (!destination.startsWith('/'))
    throw new InvalidSpecError(`bindMounts: destination ${destination} is not absolute`);
  const outer = earlier.find((other) => isBeneath(other.destination, destination));
  // The link would be made in the outer mount's source, that is in a directory of the host.
  if (outer) {
    throw new InvalidSpecError(`bindMounts: ${destination} lies in ${outer.destination}, which needs the engine oci`);
  }
}

async function linkBindMount(root: string, { source, destination }: BindMount): Promise<void> {
  try {
    await stat(source);
  } catch (error) {
    throw new InvalidSpecError(`bindMounts: source ${source} does not exist`, { cause: error });
  }
  const link = join(root, normalize(destination));
  await mkdir(dirname(link), { recursive: true });
  // An empty directory of ours may be covered, one with content would be lost.
  await rmdir(link).catch((error: unknown) => {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') {
      throw new InvalidSpecError(`bindMounts: cannot mount over ${destination}`, { cause: error });
    }
  });
  await symlink(source, link);
}

/**
 * The path on the host of what a container calls `path`; symbolic links are resolved in the tree, bind mounts lead to
 * their source.
 * @throws OutsideRootError, TooManyLinksError
 */
export async function hostPath({ root, bindMounts }: ContainerTree, path: string): Promise<string> {
  const absolute = normalize(join('/', path));
  const mount = bindMounts.find(({ destination }) => isBeneath(destination, absolute));
  if (!mount) return resolveBeneath(root, absolute);
  const rest = absolute.slice(normalize(mount.destination).replace(/\/+$/, '').length);
  return rest === '' || rest === '/' ? mount.source : resolveBeneath(mount.source, rest);
}

/** The bind mount that `path` lies in, if any. */
export function bindMountAt({ bindMounts }: ContainerTree, path: string): BindMount | undefined {
  const absolute = normalize(join('/', path));
  return bindMounts.find(({ destination }) => isBeneath(destination, absolute));
}

/** Removes a directory with all that is in it, also directories that an app has locked its owner out of. */
export async function removeTree(directory: string): Promise<void> {
  try {
    await rm(directory, { recursive: true, force: true });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EACCES') throw error;
    await runCommand('chmod', ['-R', 'u+rwX', '--', directory]);
    await rm(directory, { recursive: true, force: true });
  }
}
