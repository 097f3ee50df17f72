import { constants, type Stats } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import { sep } from 'node:path';

/** A file or directory that is held open; whoever gets it closes it. */
export type ServedEntry = { kind: 'file' | 'directory'; handle: FileHandle; status: Stats };

/** Nothing is there, or a symbolic link where none may be. */
export class EntityNotFoundError extends Error {
  constructor(path: string, cause?: unknown) {
    super(`${path} is not there`, { cause });
  }
}

/** What is there is neither a file nor a directory. */
export class NotServableError extends Error {
  constructor() {
    super('not a regular file');
  }
}

/** Linux's O_PATH, which Node.js does not name: holds a place in the tree without opening what lies there. */
const O_PATH = 0o10000000;

/**
 * Opens a path that is known to have no symbolic links, component by component, so that a link which someone swaps in
 * meanwhile is not followed. Pipes and devices are refused without being opened.
 *
 * @param path absolute
 * @throws EntityNotFoundError, NotServableError, or the system's error
 */
export async function openResolved(path: string): Promise<ServedEntry> {
  let place = await holdPlace('/', constants.O_DIRECTORY);
  for (const component of path.split(sep)) {
    if (component === '' || component === '.') continue;
    const parent = place;
    try {
      place = await holdPlace(inDirectory(parent, component), constants.O_NOFOLLOW, path);
    } finally {
      await parent.close();
    }
  }
  return openPlace(place, path);
}

/** Opens a path, following symbolic links as the system does. @throws as `openResolved` */
export async function openFollowingLinks(path: string): Promise<ServedEntry> {
  return openPlace(await holdPlace(path, 0), path);
}

/** Path of an entry of a directory that is held open: leads there even when the directory is moved. */
export function inDirectory(directory: FileHandle, name: string): string {
  return `/proc/self/fd/${directory.fd}/${name}`;
}

async function holdPlace(path: string, flags: number, shownPath = path): Promise<FileHandle> {
  try {
    return await open(path, O_PATH | flags);
  } catch (error) {
    const { code = '' } = error as NodeJS.ErrnoException;
    if (['ENOENT', 'ENOTDIR', 'ELOOP', 'ENAMETOOLONG'].includes(code)) throw new EntityNotFoundError(shownPath, error);
    throw error;
  }
}

/** Turns a held place into an entry that can be read; always closes the place or gives it away. */
async function openPlace(place: FileHandle, path: string): Promise<ServedEntry> {
  let isGivenAway = false;
  try {
    const status = await place.stat();
    if (status.isSymbolicLink()) throw new EntityNotFoundError(path);
    if (status.isDirectory()) {
      isGivenAway = true;
      return { kind: 'directory', handle: place, status };
    }
    if (!status.isFile()) throw new NotServableError();
    // The kernel's own link to the held place: it cannot lead anywhere else.
    const handle = await open(`/proc/self/fd/${place.fd}`, constants.O_RDONLY);
    return { kind: 'file', handle, status };
  } finally {
    if (!isGivenAway) await place.close();
  }
}
