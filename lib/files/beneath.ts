import { lstat, readlink } from 'node:fs/promises';
import { join, normalize, sep } from 'node:path';

/** The path has more symbolic links in a row than the kernel would follow. */
export class TooManyLinksError extends Error {
  constructor(path: string) {
    super(`too many symbolic links in ${path}`);
  }
}

/** The path leaves its root, by `..` or by a relative symbolic link. */
export class OutsideRootError extends Error {
  constructor(path: string) {
    super(`${path} leaves its root`);
  }
}

const maximumLinks = 40;

/**
 * Resolves `path` as a process would that has `root` as its root directory: component by component, absolute
 * symbolic links starting again at `root`. The answer is an absolute host path without symbolic links beneath
 * `root`. A component that does not exist ends the walk; the rest is appended as spelled.
 *
 * @param climbing what `..` does at `root`: it is refused, or stays there as it does for such a process. @default 'refused'
 * @throws OutsideRootError when `..` would climb above `root`
 * @throws TooManyLinksError after 40 links
 */
export async function resolveBeneath(
  root: string,
  path: string,
  climbing: 'refused' | 'stays' = 'refused',
): Promise<string> {
  const resolved: string[] = [];
  let pending = path.split(sep);
  let links = 0;
  while (pending.length > 0) {
    const component = pending.shift()!;
    if (component === '' || component === '.') continue;
    if (component === '..') {
      if (resolved.pop() === undefined && climbing === 'refused') throw new OutsideRootError(path);
      continue;
    }
    const candidate = join(root, ...resolved, component);
    const target = await linkTarget(candidate);
    if (target === undefined) {
      resolved.push(component);
      continue;
    }
    links += 1;
    if (links > maximumLinks) throw new TooManyLinksError(path);
    if (target.startsWith(sep)) resolved.length = 0;
    pending = [...target.split(sep), ...pending];
  }
  return join(normalize(root), ...resolved);
}

/** Whether `path` is `root` or lies below it, compared by components and not by spelling. Both absolute. */
export function isBeneath(root: string, path: string): boolean {
  const base = normalize(root).replace(/\/+$/, '');
  const candidate = normalize(path).replace(/\/+$/, '');
  return candidate === base || candidate.startsWith(`${base}${sep}`);
}

async function linkTarget(path: string): Promise<string | undefined> {
  try {
    const status = await lstat(path);
    return status.isSymbolicLink() ? await readlink(path) : undefined;
  } catch {
    return undefined;
  }
}
