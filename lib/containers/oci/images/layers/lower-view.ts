import type { Stats } from 'node:fs';
import { lstat, readlink } from 'node:fs/promises';
import { join } from 'node:path';

/** A layer as an overlay sees it from above. */
export interface LowerLayer {
  /** Absolute path of its root. */
  directory: string;
  /** Directories that hide all that lies below them; paths relative to the root, names as bytes. */
  opaque: ReadonlySet<string>;
}

/** Owner, mode and time of a directory, as they are on the disk. */
export interface DirectoryAttributes {
  mode: number;
  uid: number;
  gid: number;
  /** Seconds since the epoch. */
  mtime: number;
}

/** What an image shows at a path before the next layer is laid over it. */
export type LowerEntry =
  | { kind: 'directory'; attributes: DirectoryAttributes }
  /** Where a symbolic link points; names as bytes. */
  | { kind: 'link'; target: string }
  | { kind: 'other' };

/**
 * The layers below one that is being unpacked, as the overlay will merge them. Layers are looked into component by
 * component, so that no symbolic link in them leads out.
 */
export class LowerView {
  /** @param layers top first */
  constructor(private readonly layers: readonly LowerLayer[]) {}

  /**
   * What lies at a path whose parents are directories here; undefined when nothing does.
   *
   * @param path relative, normalized, names as bytes; empty for the root
   */
  async look(path: string): Promise<LowerEntry | undefined> {
    for (const layer of this.layers) {
      const found = await lookInto(layer, path);
      if (found === 'hidden') return undefined;
      if (found) return found;
    }
    return undefined;
  }
}

async function lookInto(layer: LowerLayer, path: string): Promise<LowerEntry | 'hidden' | undefined> {
  const components = path === '' ? [] : path.split('/');
  let isOpaque = false;
  for (let depth = 0; depth <= components.length; depth += 1) {
    const place = components.slice(0, depth).join('/');
    const status = await statusOf(layer.directory, place);
    if (!status) return isOpaque ? 'hidden' : undefined;
    if (depth === components.length) return entryOf(layer.directory, place, status);
    if (!status.isDirectory()) return 'hidden';
    isOpaque ||= layer.opaque.has(place);
  }
  return undefined;
}

async function entryOf(directory: string, place: string, status: Stats): Promise<LowerEntry | 'hidden'> {
  if (status.isDirectory()) {
    const { mode, uid, gid, mtimeMs } = status;
    return { kind: 'directory', attributes: { mode: mode & 0o7777, uid, gid, mtime: Math.floor(mtimeMs / 1000) } };
  }
  if (status.isSymbolicLink()) {
    return { kind: 'link', target: (await readlink(pathOf(directory, place), 'buffer')).toString('latin1') };
  }
  return isWhiteout(status) ? 'hidden' : { kind: 'other' };
}

function isWhiteout(status: Stats): boolean {
  return status.isCharacterDevice() && status.rdev === 0;
}

async function statusOf(directory: string, place: string): Promise<Stats | undefined> {
  try {
    return await lstat(pathOf(directory, place));
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT' || code === 'ENOTDIR' || code === 'ENAMETOOLONG') return undefined;
    throw error;
  }
}

/** Path of something in a layer; names are bytes. */
export function pathOf(directory: string, place: string): Buffer {
  return Buffer.concat([Buffer.from(join(directory, '/')), Buffer.from(place, 'latin1')]);
}
