import { chmod, chown, mkdir, stat, symlink } from 'node:fs/promises';
import { join } from 'node:path';
import { mountOverlay } from '../mounts.js';

/**
 * Lays a writable layer over directories that stay as they are.
 *
 *     <volume>/lower/<n>   -> a directory below, 0 on top
 *              data/upper, data/work
 *              rootfs/     where it is mounted
 *
 * The links are for the mount alone: their names are short, so that hundreds of layers fit into its options, and have
 * none of the characters that mean something there.
 */
export async function layOverlay(
  volumeDirectory: string,
  lowerDirectories: readonly string[],
  options: { volatile: boolean; metacopy: boolean },
): Promise<void> {
  const at = (...names: string[]) => join(volumeDirectory, ...names);
  const upper = at('data', 'upper');
  await Promise.all([mkdir(at('rootfs')), mkdir(upper), mkdir(at('data', 'work')), mkdir(at('lower'))]);
  await Promise.all(lowerDirectories.map((directory, index) => symlink(directory, at('lower', String(index)))));
  await copyPermissions(at('lower', '0'), upper);
  await mountOverlay({
    directory: volumeDirectory,
    lower: lowerDirectories.map((_, index) => `lower/${index}`),
    upper: 'data/upper',
    work: 'data/work',
    target: at('rootfs'),
    ...options,
  });
}

/** The root directory of a container has the owner and mode of its image's, not those of a fresh upper layer. */
async function copyPermissions(from: string, to: string): Promise<void> {
  const { mode, uid, gid } = await stat(from);
  await chown(to, uid, gid);
  await chmod(to, mode & 0o7777);
}
