import { statfs } from 'node:fs/promises';

/** Shares between 0 and 1. */
export interface Shares {
  blocks: number;
  inodes: number;
}

/** How much of the file system that `path` lies on is in use. @throws when there is no such path */
export async function fileSystemUsage(path: string): Promise<Shares> {
  const { blocks, bfree, files, ffree } = await statfs(path);
  return { blocks: shareInUse(blocks, bfree), inodes: shareInUse(files, ffree) };
}

/** Whether one of the shares is above its threshold (docs/protocol/dea.md §12). */
export function isUnderPressure(usage: Shares, thresholds: Shares): boolean {
  return usage.blocks > thresholds.blocks || usage.inodes > thresholds.inodes;
}

/** A file system that makes inodes as it needs them tells of none. */
function shareInUse(total: number, free: number): number {
  return total === 0 ? 0 : (total - free) / total;
}
