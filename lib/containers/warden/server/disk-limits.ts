import type { DiskFields } from '../protocol/messages.js';

/** Bytes of a disk block as LimitDisk counts them. */
const blockBytes = 1024;

/** Limits of a container's disk; 0 asks for none. */
export interface DiskRequest {
  bytes?: number;
  inodes?: number;
}

/**
 * What a LimitDisk request asks for: `*_hard` beats the bare name beats `*_limit`, blocks beat bytes, and bytes are
 * rounded up to blocks (docs/protocol/containers.md §1.6). Soft limits are not told apart from hard ones: alone they
 * change nothing.
 */
export function readDiskLimits(fields: DiskFields): DiskRequest {
  const blocks = fields.blockHard ?? fields.block ?? fields.blockLimit ?? blocksOf(bytesIn(fields));
  const inodes = fields.inodeHard ?? fields.inode ?? fields.inodeLimit;
  return {
    ...(blocks !== undefined && { bytes: blocks * blockBytes }),
    ...(inodes !== undefined && { inodes }),
  };
}

/** All twelve fields of the response; 0 stands for no limit. */
export function writeDiskLimits({ bytes = 0, inodes = 0 }: DiskRequest): DiskFields {
  const blocks = Math.ceil(bytes / blockBytes);
  const roundedBytes = blocks * blockBytes;
  return {
    blockLimit: blocks,
    block: blocks,
    blockSoft: blocks,
    blockHard: blocks,
    inodeLimit: inodes,
    inode: inodes,
    inodeSoft: inodes,
    inodeHard: inodes,
    byteLimit: roundedBytes,
    byte: roundedBytes,
    byteSoft: roundedBytes,
    byteHard: roundedBytes,
  };
}

function bytesIn(fields: DiskFields): number | undefined {
  return fields.byteHard ?? fields.byte ?? fields.byteLimit;
}

function blocksOf(bytes: number | undefined): number | undefined {
  return bytes === undefined ? undefined : Math.ceil(bytes / blockBytes);
}
