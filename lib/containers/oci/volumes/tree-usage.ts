import { lstat, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { DiskUsage } from '../ports.js';

/** Entries looked at before other work gets its turn. */
const batch = 64;

/**
 * Counts what lies beneath a directory, as `du` does, without a process. For layers without a limit only: it visits
 * every file. A file with several names counts once. What vanishes meanwhile is passed over.
 */
export async function treeUsage(directory: string): Promise<DiskUsage> {
  const usage: DiskUsage = { bytesUsed: 0, inodesUsed: 0 };
  const linked = new Set<number>();
  const pending = [directory];
  for (let current = pending.pop(); current !== undefined; current = pending.pop()) {
    const parent = current;
    const entries = await readdir(parent, { withFileTypes: true }).catch(() => []);
    for (let start = 0; start < entries.length; start += batch) {
      const some = entries.slice(start, start + batch);
      const statuses = await Promise.all(some.map((entry) => lstat(join(parent, entry.name)).catch(() => undefined)));
      for (const status of statuses) {
        if (!status || linked.has(status.ino)) continue;
        if (status.nlink > 1 && !status.isDirectory()) linked.add(status.ino);
        usage.inodesUsed += 1;
        usage.bytesUsed += status.blocks * 512;
      }
    }
    for (const entry of entries) if (entry.isDirectory()) pending.push(join(parent, entry.name));
  }
  return usage;
}
