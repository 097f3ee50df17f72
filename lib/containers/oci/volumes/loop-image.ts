import { randomBytes } from 'node:crypto';
import { mkdir, open, rm, stat, statfs, truncate } from 'node:fs/promises';
import { join } from 'node:path';
import { errorData, type Logger } from '../../../logging/logger.js';
import { HostRequirementError } from '../../errors.js';
import { runHostProgram } from '../host-program.js';
import { growLoopDevice, loopDevicesBeneath, mountImage, unmount } from '../mounts.js';
import type { DiskUsage } from '../ports.js';
import type { Baseline, DiskDriver, LimitedVolume } from './disk-driver.js';
import {
  blockBytes,
  capacityFor,
  geometryFor,
  grownSizeBytes,
  type ImageLimits,
  neededBytes,
} from './image-geometry.js';

/** Free room that the ballast of a fresh image leaves for the directories of the overlay. */
const spareRoomBytes = 64 * blockBytes;

/**
 * A sparse ext4 image of a container's own: its free space is the limit, so that the kernel itself answers ENOSPC to
 * whoever writes, root or not.
 *
 *     <directory>/image          the sparse file: a multiple of what is asked for
 *                 data/          the image mounted
 *                 data/ballast   allocated, never written: takes what lies between the limit and the capacity
 *
 * The ballast makes the limit exact, whatever mkfs leaves, and lets it change at once: cutting the ballast needs no
 * process and, unlike growing a mounted file system, no CAP_SYS_RESOURCE. Its blocks are holes in the image, so that
 * it costs nothing. Inodes have no ballast: their number is decided by mkfs.
 */
export class LoopImages implements DiskDriver {
  readonly name = 'loop-image';
  readonly #logger: Logger;

  constructor({ logger }: { logger: Logger }) {
    this.#logger = logger;
  }

  capacityFor({ bytes, inodes }: ImageLimits): ImageLimits {
    return { bytes: capacityFor(bytes), inodes };
  }

  newName(): string {
    return randomBytes(6).toString('hex');
  }

  /** Formats and mounts an image and fills it with ballast: `limit` comes next. Cleans up when it fails. */
  async prepare(directory: string, capacity: ImageLimits): Promise<void> {
    const image = join(directory, 'image');
    const data = join(directory, 'data');
    try {
      await format(image, capacity);
      await mkdir(data);
      await mountImage(image, data);
      const { bavail, bsize } = await statfs(data);
      await extendBallast(data, bavail * bsize - spareRoomBytes);
    } catch (error) {
      await unmount([data]);
      await rm(image, { force: true });
      throw error;
    }
  }

  /** Ballast excepted. */
  async baseline(directory: string): Promise<Baseline> {
    const { usedBlocks, usedInodes } = await usedIn(directory);
    return { usedBlocks, usedInodes };
  }

  /** No process, two system calls. */
  async usage({ volumeDirectory, baseline }: LimitedVolume): Promise<DiskUsage> {
    const used = await usedIn(volumeDirectory);
    return {
      bytesUsed: Math.max(used.usedBlocks - baseline.usedBlocks, 0) * blockBytes,
      inodesUsed: Math.max(used.usedInodes - baseline.usedInodes, 0),
    };
  }

  /**
   * More bytes than the image's capacity grow the file system. The number of inodes becomes larger only; without a
   * limit so far, the image was made with that number.
   *
   * @throws when the file system would have to grow but the engine lacks CAP_SYS_RESOURCE
   */
  async limit(volume: LimitedVolume, asked: ImageLimits): Promise<ImageLimits> {
    const { volumeDirectory, baseline } = volume;
    const inodes = Math.max(asked.inodes, volume.inodes ?? 0);
    if (volume.inodes !== undefined && inodes > volume.inodes) await growInodes(volumeDirectory, inodes);
    try {
      await setLimit(volumeDirectory, baseline, asked.bytes);
    } catch (error) {
      if (volume.bytes === undefined || asked.bytes > volume.bytes) throw error;
      const { bytes } = asked;
      this.#logger.info('a smaller disk limit has no room beside what is in use', { bytes, ...errorData(error) });
      return { bytes: volume.bytes, inodes };
    }
    return { bytes: asked.bytes, inodes };
  }

  async forget(): Promise<void> {}
}

/**
 * Lets the image hold `bytes` in total. More than its capacity grows the file system.
 *
 * @throws when a smaller limit has no room beside what is in use (the old one stays), and when the file system would
 *   have to grow but the engine lacks CAP_SYS_RESOURCE
 */
async function setLimit(directory: string, baseline: Baseline, bytes: number): Promise<void> {
  let ballast = await ballastFor(directory, baseline, bytes);
  if (ballast.wantedBytes < 0) {
    await grow(directory, { bytes, inodes: 0 });
    ballast = await ballastFor(directory, baseline, bytes);
    if (ballast.wantedBytes < 0) throw new Error(`cannot grow the image in ${directory} to hold ${bytes} bytes`);
  }
  if (ballast.wantedBytes < ballast.bytes) await truncate(join(directory, 'data', 'ballast'), ballast.wantedBytes);
  else await extendBallast(join(directory, 'data'), ballast.wantedBytes);
}

/** Brings the number of inodes to at least this. `setLimit` must follow: the new inodes come with blocks. */
async function growInodes(directory: string, inodes: number): Promise<void> {
  const { files } = await statfs(join(directory, 'data'));
  if (files >= inodes) return;
  await grow(directory, { bytes: 0, inodes });
}

async function usedIn(directory: string): Promise<Baseline & { availableBytes: number; ballastBytes: number }> {
  const data = join(directory, 'data');
  const [space, ballast] = await Promise.all([statfs(data), stat(join(data, 'ballast'))]);
  const ballastBlocks = Math.ceil((ballast.blocks * 512) / space.bsize);
  return {
    usedBlocks: space.blocks - space.bfree - ballastBlocks,
    usedInodes: space.files - space.ffree,
    availableBytes: space.bavail * space.bsize,
    ballastBytes: ballast.size,
  };
}

/** How large the ballast is, and how large it must be to leave room for exactly `bytes` of content. */
async function ballastFor(
  directory: string,
  baseline: Baseline,
  bytes: number,
): Promise<{ bytes: number; wantedBytes: number }> {
  const { usedBlocks, availableBytes, ballastBytes } = await usedIn(directory);
  const contentBytes = (usedBlocks - baseline.usedBlocks) * blockBytes;
  return { bytes: ballastBytes, wantedBytes: availableBytes + ballastBytes + contentBytes - neededBytes(bytes) };
}

async function extendBallast(data: string, bytes: number): Promise<void> {
  const ballast = join(data, 'ballast');
  const rounded = Math.floor(bytes / blockBytes) * blockBytes;
  const before = await stat(ballast).then(
    (status) => status.size,
    () => 0,
  );
  if (rounded <= before) return;
  try {
    await runHostProgram('util-linux', 'fallocate', ['--length', String(rounded), ballast]);
  } catch (error) {
    // A part of it may have been allocated: that room is the container's.
    if (before > 0) await truncate(ballast, before);
    throw error;
  }
}

async function format(image: string, capacity: ImageLimits): Promise<void> {
  const { sizeBytes, inodeCount, blocksPerGroup } = geometryFor(capacity.bytes, capacity.inodes);
  const file = await open(image, 'wx', 0o600);
  try {
    await file.truncate(sizeBytes);
  } finally {
    await file.close();
  }
  await runHostProgram('e2fsprogs', 'mkfs.ext4', [
    '-q',
    '-F',
    ...['-b', String(blockBytes), '-I', '256', '-m', '0'],
    ...['-N', String(inodeCount), '-g', String(blocksPerGroup)],
    // No journal: nobody recovers an image. `lazy_itable_init`, `nodiscard`: a new sparse file is zeros already.
    ...['-O', '^has_journal,resize_inode', '-E', 'lazy_itable_init=1,nodiscard'],
    image,
  ]);
}

async function grow(directory: string, limits: ImageLimits): Promise<void> {
  const image = join(directory, 'image');
  const loop = (await loopDevicesBeneath(directory)).find(({ file }) => file === image);
  if (!loop) throw new Error(`no loop device is behind ${image}`);
  const { size: sizeBytes } = await stat(image);
  const { blocks, bsize, files } = await statfs(join(directory, 'data'));
  await truncate(image, grownSizeBytes(limits, { sizeBytes, usableBytes: blocks * bsize, inodes: files }));
  await growLoopDevice(loop.device);
  try {
    await runHostProgram('e2fsprogs', 'resize2fs', [loop.device]);
  } catch (error) {
    if (error instanceof HostRequirementError) throw error;
    throw new Error(`cannot grow the mounted file system in ${directory}; the engine needs CAP_SYS_RESOURCE for it`, {
      cause: error,
    });
  }
}
