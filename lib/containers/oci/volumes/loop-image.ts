import { mkdir, open, rm, statfs, truncate } from 'node:fs/promises';
import { join } from 'node:path';
import { CommandError, runCommand } from '../../../process/command.js';
import { HostRequirementError } from '../../errors.js';
import { growLoopDevice, loopDevicesBeneath, mountImage, unmount } from '../mounts.js';
import type { DiskUsage } from '../ports.js';
import {
  blockBytes,
  correctGeometry,
  grownSizeBytes,
  guessGeometry,
  type ImageGeometry,
  type ImageLimits,
  type ImageSpace,
  neededFreeBlocks,
  parseSuperblock,
} from './image-geometry.js';

const mostAttempts = 5;

/** What the empty file system takes for itself, as `statfs` counts. */
export interface Baseline {
  usedBlocks: number;
  usedInodes: number;
}

/** Geometries that mkfs has confirmed, by limits: the next image of that kind fits at once. */
const confirmed = new Map<string, ImageGeometry>();

/**
 * A sparse ext4 image of a container's own: the size of the file system is the limit, so that the kernel itself
 * answers ENOSPC to whoever writes, root or not. `<directory>/image` is mounted at `<directory>/data`.
 */
export const loopImage = {
  /** Formats and mounts an image whose empty file system holds `limits`. Cleans up when it fails. */
  async create(directory: string, limits: ImageLimits): Promise<void> {
    const image = join(directory, 'image');
    const data = join(directory, 'data');
    try {
      await format(image, limits);
      await mkdir(data);
      await mountImage(image, data);
    } catch (error) {
      await unmount([data]);
      await rm(image, { force: true });
      throw error;
    }
  },

  async baseline(directory: string): Promise<Baseline> {
    const { blocks, bfree, files, ffree } = await statfs(join(directory, 'data'));
    return { usedBlocks: blocks - bfree, usedInodes: files - ffree };
  },

  async usage(directory: string, baseline: Baseline): Promise<DiskUsage> {
    const { blocks, bfree, files, ffree, bsize } = await statfs(join(directory, 'data'));
    return {
      bytesUsed: Math.max(blocks - bfree - baseline.usedBlocks, 0) * bsize,
      inodesUsed: Math.max(files - ffree - baseline.usedInodes, 0),
    };
  },

  /**
   * Grows the mounted image until it holds `limits`. More inodes come only with more blocks, so that raising the inode
   * limit alone may raise the byte limit, too.
   */
  async grow(directory: string, limits: ImageLimits): Promise<void> {
    const image = join(directory, 'image');
    const loop = (await loopDevicesBeneath(directory)).find(({ file }) => file === image);
    if (!loop) throw new Error(`no loop device is behind ${image}`);
    for (let attempt = 1; attempt <= mostAttempts; attempt += 1) {
      const { blocks, files } = await statfs(join(directory, 'data'));
      const sizeBytes = await sizeOf(image);
      const missing = Math.max(neededFreeBlocks(limits.bytes, sizeBytes / blockBytes) - blocks, 0);
      if (missing === 0 && files >= limits.inodes) return;
      const guess = grownSizeBytes(limits, { sizeBytes, usableBlocks: blocks, inodes: files });
      await truncate(image, Math.max(guess, sizeBytes + (missing + 64) * blockBytes));
      await growLoopDevice(loop.device);
      await runTool('resize2fs', [loop.device]);
    }
    throw new Error(`cannot grow ${image} to ${limits.bytes} bytes and ${limits.inodes} inodes`);
  },
};

async function format(image: string, limits: ImageLimits): Promise<void> {
  const key = `${limits.bytes}/${limits.inodes}`;
  let geometry: ImageGeometry | undefined = confirmed.get(key) ?? guessGeometry(limits);
  for (let attempt = 1; attempt <= mostAttempts; attempt += 1) {
    await makeFileSystem(image, geometry);
    const better = correctGeometry(limits, geometry, await readSpace(image));
    if (!better) {
      confirmed.set(key, geometry);
      return;
    }
    geometry = better;
  }
  throw new Error(`found no ext4 geometry for ${limits.bytes} bytes and ${limits.inodes} inodes`);
}

async function makeFileSystem(image: string, geometry: ImageGeometry): Promise<void> {
  await rm(image, { force: true });
  const file = await open(image, 'wx', 0o600);
  try {
    await file.truncate(geometry.sizeBytes);
  } finally {
    await file.close();
  }
  await runTool('mkfs.ext4', [
    '-q',
    '-F',
    ...['-b', String(blockBytes), '-I', '256', '-m', '0'],
    ...['-N', String(geometry.inodeCount), '-g', String(geometry.blocksPerGroup)],
    // No journal: nobody recovers an image. `lazy_itable_init`, `nodiscard`: a new sparse file is zeros already.
    ...['-O', '^has_journal,resize_inode', '-E', 'lazy_itable_init=1,nodiscard'],
    image,
  ]);
}

async function readSpace(image: string): Promise<ImageSpace> {
  const file = await open(image, 'r');
  try {
    const head = Buffer.alloc(2048);
    await file.read(head, 0, head.length, 0);
    return parseSuperblock(head);
  } finally {
    await file.close();
  }
}

async function sizeOf(image: string): Promise<number> {
  const file = await open(image, 'r');
  try {
    return (await file.stat()).size;
  } finally {
    await file.close();
  }
}

async function runTool(program: string, args: string[]): Promise<void> {
  try {
    await runCommand(program, args);
  } catch (error) {
    const cause = error instanceof CommandError ? error.cause : undefined;
    if (cause instanceof Error && 'code' in cause && cause.code === 'ENOENT') {
      throw new HostRequirementError(`${program} is missing: apt-get install e2fsprogs`, { cause: error });
    }
    throw error;
  }
}
