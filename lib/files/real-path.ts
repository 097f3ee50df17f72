import { realpathSync } from 'node:fs';
import { basename, dirname, join, resolve } from 'node:path';

/**
 * The path without symbolic links, also of a file that is not there yet: the kernel names mounts by such paths.
 */
export function realPathOf(path: string): string {
  const absolute = resolve(path);
  try {
    return realpathSync(absolute);
  } catch (error) {
    const isMissing = (error as NodeJS.ErrnoException).code === 'ENOENT';
    if (!isMissing || absolute === '/') throw error;
    return join(realPathOf(dirname(absolute)), basename(absolute));
  }
}
