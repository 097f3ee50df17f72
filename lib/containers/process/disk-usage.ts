import type { Stats } from 'node:fs';
import { lstat, readdir } from 'node:fs/promises';
import { join } from 'node:path';

export interface DiskUsage {
  bytesUsed: number;
  inodesUsed: number;
}

const blockBytes = 512;

/**
 * Counts what a directory tree takes on the disk, as `du` does: blocks and not lengths, a file with several names
 * once, symbolic links not followed. What vanishes while it counts is not counted.
 */
export async function diskUsage(directory: string): Promise<DiskUsage> {
  const usage = { bytesUsed: 0, inodesUsed: 0 };
  const seenLinks = new Set<number>();
  const pending = [directory];
  for (let path = pending.pop(); path !== undefined; path = pending.pop()) {
    const status = await lstat(path).catch(() => undefined);
    if (!status || !isFirstSight(status, seenLinks)) continue;
    usage.bytesUsed += status.blocks * blockBytes;
    usage.inodesUsed += 1;
    if (!status.isDirectory()) continue;
    const names = await readdir(path).catch(() => []);
    for (const name of names) pending.push(join(path, name));
  }
  return usage;
}

function isFirstSight(status: Stats, seenLinks: Set<number>): boolean {
  if (status.isDirectory() || status.nlink === 1) return true;
  if (seenLinks.has(status.ino)) return false;
  seenLinks.add(status.ino);
  return true;
}
