/** What a writable layer may hold. */
export interface ImageLimits {
  bytes: number;
  inodes: number;
}

/** Size of the sparse file and arguments of mkfs.ext4. */
export interface ImageGeometry {
  sizeBytes: number;
  inodeCount: number;
  blocksPerGroup: number;
}

export const blockBytes = 4096;
const inodeBytes = 256;
const inodesPerBlock = blockBytes / inodeBytes;
/** A group's inode bitmap is one block; one row less, because mkfs rounds up. */
const mostInodesPerGroup = blockBytes * 8 - inodesPerBlock;
const mostBlocksPerGroup = blockBytes * 8;
const fewestBlocksPerGroup = 2048;
/** Reserved inodes, lost+found, the ballast, upper, work and work/work. */
const ownInodes = 24;
const smallestCapacityBytes = 2 ** 29;
const headroomFactor = 2;

/** An inode limit that cannot be met before the byte limit: one inode per block. Used where none is asked. */
export function inodesWithoutLimit(bytes: number): number {
  return Math.min(Math.max(Math.ceil(bytes / blockBytes), 1024), 4_000_000);
}

/**
 * How much an image can be made to hold without growing its file system: a power of two, at least twice the
 * limit. Limits of the same class are served by the same spare images. Sparse capacity costs next to no room, but time to format.
 */
export function capacityFor(bytes: number): number {
  return Math.max(2 ** Math.ceil(Math.log2(Math.max(bytes, 1) * headroomFactor)), smallestCapacityBytes);
}

/** An image that has `capacityBytes` and `inodes` free when it is empty. */
export function geometryFor(capacityBytes: number, inodes: number): ImageGeometry {
  const inodeCount = inodes + ownInodes;
  const tables = Math.ceil(inodeCount / inodesPerBlock);
  const content = Math.ceil(capacityBytes / blockBytes);
  // 2 %, at most 4096 blocks, are kept back by the kernel; group metadata takes well below 1 %.
  const blocks = content + tables + Math.ceil(content / 100) + 4096;
  // Many inodes on few blocks only fit when the groups are smaller than usual.
  let blocksPerGroup = mostBlocksPerGroup;
  while (
    blocksPerGroup > fewestBlocksPerGroup &&
    inodeCount > mostInodesPerGroup * Math.max(Math.floor(blocks / blocksPerGroup), 1)
  ) {
    blocksPerGroup /= 2;
  }
  return { sizeBytes: blocks * blockBytes, inodeCount, blocksPerGroup };
}

/** Room that `bytes` of file content need: themselves, and blocks for directories and extents. */
export function neededBytes(bytes: number): number {
  const content = Math.ceil(bytes / blockBytes);
  return (content + 32 + Math.ceil(content / 256)) * blockBytes;
}

/**
 * Size of an image's file after it was grown to have `bytes` and `inodes`. Inodes come with groups: their number
 * grows in proportion to the blocks, and only whole groups bring any.
 */
export function grownSizeBytes(
  limits: ImageLimits,
  now: { sizeBytes: number; usableBytes: number; inodes: number },
): number {
  const groupBytes = mostBlocksPerGroup * blockBytes;
  const overhead = Math.max(1 - now.usableBytes / now.sizeBytes, 0);
  const forBytes = (neededBytes(limits.bytes) + 4096 * blockBytes) / (1 - overhead);
  const forInodes = (now.sizeBytes * (limits.inodes + ownInodes)) / now.inodes;
  return Math.ceil(Math.max(forBytes, forInodes, now.sizeBytes) / groupBytes + 1) * groupBytes;
}
