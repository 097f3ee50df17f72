import { closeSync, constants, fstatSync, open as openByCallback, openSync, type Stats } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import { promisify } from 'node:util';

/** A file or directory that is held open; whoever gets it closes it. */
export type ServedEntry = { kind: 'file' | 'directory'; handle: FileHandle; status: Stats };

/** A place in the tree, and its path. */
export interface Standing {
  /** Absolute, on the host, free of symbolic links. */
  readonly path: string;
  readonly place: HeldPlace;
}

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

const openDescriptor = promisify(openByCallback);

/**
 * A place in the tree that is held without opening what lies there, so that pipes and devices are not touched. It stays
 * the same place whatever happens to its names. Only taking hold may wait for a disk.
 */
export class HeldPlace {
  readonly status: Stats;
  private isClosed = false;

  private constructor(private readonly descriptor: number) {
    this.status = fstatSync(descriptor);
  }

  /** @throws EntityNotFoundError, or what the file system says */
  static async at(path: string, links: 'followed' | 'held' = 'followed', shownPath = path): Promise<HeldPlace> {
    const flags = O_PATH | (links === 'held' ? constants.O_NOFOLLOW : 0);
    return new HeldPlace(await found(shownPath, openDescriptor(path, flags)));
  }

  /**
   * Holds what lies at a path, also a symbolic link, without waiting in a thread: only for local file systems.
   * @throws what the file system says
   */
  static atOnce(path: string): HeldPlace {
    return new HeldPlace(openSync(path, O_PATH | constants.O_NOFOLLOW));
  }

  /** The same place, held once more. */
  again(): HeldPlace {
    return new HeldPlace(openSync(this.link, O_PATH));
  }

  /** The kernel's own link to the place: it cannot lead anywhere else. */
  get link(): string {
    return `/proc/self/fd/${this.descriptor}`;
  }

  /** Opens what lies there; the place itself stays held. @throws EntityNotFoundError, NotServableError */
  async open(): Promise<ServedEntry> {
    const { status } = this;
    if (status.isSymbolicLink()) throw new EntityNotFoundError(this.link);
    const kind = status.isDirectory() ? 'directory' : 'file';
    if (kind === 'file' && !status.isFile()) throw new NotServableError();
    return { kind, status, handle: await open(this.link, constants.O_RDONLY) };
  }

  /** Idempotent. */
  close(): void {
    if (this.isClosed) return;
    this.isClosed = true;
    closeSync(this.descriptor);
  }
}

/** Waits for a look at the file system. @throws EntityNotFoundError when there is nothing at that path */
export async function found<Result>(path: string, look: Promise<Result>): Promise<Result> {
  try {
    return await look;
  } catch (error) {
    const { code = '' } = error as NodeJS.ErrnoException;
    if (['ENOENT', 'ENOTDIR', 'ELOOP', 'ENAMETOOLONG'].includes(code)) throw new EntityNotFoundError(path, error);
    throw error;
  }
}

/** Path of an entry of a directory that is held open: leads there even when the directory is moved. */
export function inDirectory(directory: FileHandle, name: string): string {
  return `/proc/self/fd/${directory.fd}/${name}`;
}
