/** What a writable layer must be able to hold. */
export interface ImageLimits {
  bytes: number;
  inodes: number;
}

/** Arguments for mkfs.ext4 and the size of the sparse file to run it on. */
export interface ImageGeometry {
  sizeBytes: number;
  inodeCount: number;
  blocksPerGroup: number;
}

/** What the superblock of a fresh file system says. */
export interface ImageSpace {
  blocks: number;
  freeBlocks: number;
  freeInodes: number;
}

export const blockBytes = 4096;
const inodeBytes = 256;
const inodesPerBlock = blockBytes / inodeBytes;
/** A group's inode bitmap is one block; one row less, because mkfs rounds up. */
const mostInodesPerGroup = blockBytes * 8 - inodesPerBlock;
const mostBlocksPerGroup = blockBytes * 8;
const fewestBlocksPerGroup = 2048;
/** Inodes that the file system and the overlay need for themselves: reserved ones, lost+found, upper, work and work/work. */
const ownInodes = 16;

/** An inode limit that cannot be met before the byte limit: one inode per block. Used where none is asked. */
export function inodesWithoutLimit(bytes: number): number {
  return Math.min(Math.max(Math.ceil(bytes / blockBytes), 1024), 4_000_000);
}

/**
 * Free blocks that an empty image needs so that `bytes` of file content fit. ext4 keeps 2 % (at most 4096 blocks) back
 * for its own book-keeping, and the content needs some blocks for directories and extents.
 */
export function neededFreeBlocks(bytes: number, totalBlocks: number): number {
  const content = Math.ceil(bytes / blockBytes);
  return content + bookkeepingBlocks(content) + reservedBlocks(totalBlocks);
}

function bookkeepingBlocks(contentBlocks: number): number {
  return 32 + Math.ceil(contentBlocks / 256);
}

function reservedBlocks(totalBlocks: number): number {
  return Math.min(Math.ceil(totalBlocks / 50), 4096);
}

/** First guess of an image that holds `limits`; `correctGeometry` makes it exact. */
export function guessGeometry(limits: ImageLimits): ImageGeometry {
  const inodeCount = limits.inodes + ownInodes;
  const content = Math.ceil(limits.bytes / blockBytes);
  const tables = Math.ceil(inodeCount / inodesPerBlock);
  const blocks = neededFreeBlocks(limits.bytes, content + tables) + tables + 64;
  return geometryOf(blocks, inodeCount);
}

/** The next guess after mkfs showed what the last one gives; undefined when that one holds the limits. */
export function correctGeometry(
  limits: ImageLimits,
  geometry: ImageGeometry,
  space: ImageSpace,
): ImageGeometry | undefined {
  const missingBlocks = neededFreeBlocks(limits.bytes, space.blocks) - space.freeBlocks;
  const missingInodes = limits.inodes + ownInodes / 2 - space.freeInodes;
  if (missingBlocks <= 0 && missingInodes <= 0) return undefined;
  return geometryOf(
    Math.ceil(geometry.sizeBytes / blockBytes) + Math.max(missingBlocks, 0) + 8,
    geometry.inodeCount + Math.max(missingInodes, 0),
  );
}

/** Size of a mounted image after it was grown to hold `limits`, from what it is now. */
export function grownSizeBytes(
  limits: ImageLimits,
  now: { sizeBytes: number; usableBlocks: number; inodes: number },
): number {
  const blocks = Math.ceil(now.sizeBytes / blockBytes);
  const overhead = Math.max(blocks - now.usableBlocks, 0) / blocks;
  const content = Math.ceil(limits.bytes / blockBytes);
  const forBytes = Math.ceil((content + bookkeepingBlocks(content) + 4096) / (1 - overhead));
  // Inodes come with groups: their number grows in proportion to the blocks, and only whole groups bring any.
  const forInodes = Math.ceil((blocks * (limits.inodes + ownInodes)) / now.inodes);
  return Math.max(forBytes, forInodes, blocks) * blockBytes;
}

/** Many inodes on few blocks only fit when the groups are smaller than usual. */
function geometryOf(blocks: number, inodeCount: number): ImageGeometry {
  let blocksPerGroup = mostBlocksPerGroup;
  while (
    blocksPerGroup > fewestBlocksPerGroup &&
    inodeCount > mostInodesPerGroup * Math.max(Math.floor(blocks / blocksPerGroup), 1)
  ) {
    blocksPerGroup /= 2;
  }
  return { sizeBytes: blocks * blockBytes, inodeCount, blocksPerGroup };
}

/**
 * Reads block and inode counts from the first 2048 bytes of an ext4 image.
 *
 * @throws when there is no ext4 superblock
 */
export function parseSuperblock(head: Buffer): ImageSpace {
  const superblock = head.subarray(1024);
  if (superblock.length < 0x15c || superblock.readUInt16LE(0x38) !== 0xef53) throw new Error('no ext4 superblock');
  const high = (offset: number) => superblock.readUInt32LE(offset) * 2 ** 32;
  return {
    blocks: superblock.readUInt32LE(0x4) + high(0x150),
    freeBlocks: superblock.readUInt32LE(0xc) + high(0x158),
    freeInodes: superblock.readUInt32LE(0x10),
  };
}
