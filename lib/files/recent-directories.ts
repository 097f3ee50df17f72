import { closeSync, constants, fstatSync, openSync, readlinkSync, readSync, type Stats } from 'node:fs';
import { statfs } from 'node:fs/promises';
import { BufferPool } from './buffer-pool.js';
import { HeldPlace, type Standing } from './held-place.js';

/** A regular file with all of its content as it was at one moment. */
export interface WholeFile {
  readonly path: string;
  readonly status: Stats;
  readonly bytes: Buffer;
  /** Gives the memory back: `bytes` may not be used any more. Called once, or never. */
  release(): void;
}

/** Files that are small enough to be read, and sent, in one go. */
export const wholeBytes = 64 * 1024;

/** What of a file is wanted: its content, if it is small and can be had at once, or in any case the place. */
export type Wanted = 'content' | 'place';

/** Milliseconds that a directory is held at most; a mount is busy for as long, so less than an engine waits for one. */
const holdMs = 500;
const maximumHeld = 64;
const maximumAsked = 1024;
/** Files that are held in one directory. */
const maximumFiles = 64;
/** Milliseconds that a look may take; a directory where one took longer gets no more of them. */
const slowMs = 20;

/**
 * File systems of this machine alone, by their magic numbers: a look at what the kernel knows already takes microseconds,
 * one at the disk milliseconds, and no other machine or process is waited for.
 */
const localFileSystems = new Set([
  0xef53, // ext2, ext3, ext4
  0x58465342, // XFS
  0x9123683e, // Btrfs
  0x01021994, // tmpfs
  0x794c7630, // overlayfs
  0xf2f52010, // F2FS
  0x2fc12fc1, // ZFS
]);

/** Text that the kernel puts behind the path of what was removed; a name that ends so could not be told from it. */
const removedMark = ' (deleted)';

interface HeldDirectory extends Standing {
  /** Looks have been quick so far. */
  isQuick: boolean;
  /** Descriptors of small files in it that were read before, by name. */
  files: Map<string, number>;
}

/**
 * Directories that were asked for twice within half a second, held for the rest of it with the small files that are read
 * in them, so that the way there need not be walked again. Before each look the kernel is asked where the directory or
 * file is: one that was renamed, moved or removed, or that lies below one that was, is no longer at its path, and the way
 * is walked again. Bytes are never kept: they are read each time.
 *
 * Looks are made at once and not in a thread, which costs ten times as much. So only directories of local file systems
 * are held, and of what lies in them only regular files of the same file system are opened.
 */
export class RecentDirectories {
  private readonly asked = new Set<string>();
  private readonly held = new Map<string, HeldDirectory>();
  private readonly buffers = new BufferPool(wholeBytes, 8);
  private timer: NodeJS.Timeout | undefined;

  /** Whether a directory was asked for before, so that holding it is worth while. */
  isAskedAgain(key: string): boolean {
    if (this.asked.has(key)) return true;
    if (this.asked.size < maximumAsked) this.asked.add(key);
    this.timer ??= setTimeout(() => this.release(), holdMs);
    return false;
  }

  /**
   * Holds a directory; one on another than a local file system is not held.
   * @param key stands for the directory from now on
   * @param directory stays the caller's
   */
  async hold(key: string, { path, place }: Standing): Promise<void> {
    const { type } = await statfs(place.link);
    if (
      path.includes(removedMark) ||
      !localFileSystems.has(type) ||
      this.held.has(key) ||
      this.held.size >= maximumHeld
    )
      return;
    this.held.set(key, { path, place: place.again(), isQuick: true, files: new Map() });
    this.timer ??= setTimeout(() => this.release(), holdMs);
  }

  /**
   * Looks for a regular file in a directory that is held. Gives its whole content when that is wanted and it has no more
   * than 64 KiB, else the place, which the caller closes.
   * @returns undefined when only walking there will tell
   */
  find(key: string, name: string, wanted: Wanted): Standing | WholeFile | undefined {
    const directory = this.held.get(key);
    if (!directory?.isQuick) return undefined;
    const beganMs = performance.now();
    try {
      return lookFor(directory, name, wanted === 'content' ? this.buffers : undefined);
    } catch {
      // Whatever it is, the walk meets it again and tells.
      return undefined;
    } finally {
      directory.isQuick = performance.now() - beganMs < slowMs;
    }
  }

  /** Lets all go. Idempotent. */
  release(): void {
    clearTimeout(this.timer);
    this.timer = undefined;
    for (const { place, files } of this.held.values()) {
      for (const descriptor of files.values()) closeSync(descriptor);
      place.close();
    }
    this.held.clear();
    this.asked.clear();
  }
}

/** @param buffers memory for the content, if it is wanted */
function lookFor(
  directory: HeldDirectory,
  name: string,
  buffers: BufferPool | undefined,
): Standing | WholeFile | undefined {
  const path = `${directory.path}/${name}`;
  const held = buffers && heldFile(directory, name, path);
  if (buffers && held !== undefined) {
    const status = fstatSync(held);
    if (status.size <= wholeBytes) return wholeFile(path, held, status, buffers);
  }
  if (readlinkSync(directory.place.link) !== directory.path) return undefined;
  const place = HeldPlace.atOnce(`${directory.place.link}/${name}`);
  const { status } = place;
  // Another file system may be mounted on the name.
  const isServable = status.isFile() && status.dev === directory.place.status.dev;
  if (isServable && (!buffers || status.size > wholeBytes)) return { path, place };
  try {
    return isServable && buffers ? openWhole(directory, name, place, buffers) : undefined;
  } finally {
    place.close();
  }
}

/** The descriptor of a file that is held, if it still is what its path says. */
function heldFile({ files }: HeldDirectory, name: string, path: string): number | undefined {
  const descriptor = files.get(name);
  if (descriptor === undefined || readlinkSync(`/proc/self/fd/${descriptor}`) === path) return descriptor;
  files.delete(name);
  closeSync(descriptor);
  return undefined;
}

function openWhole(
  { path, files }: HeldDirectory,
  name: string,
  { link, status }: HeldPlace,
  buffers: BufferPool,
): WholeFile | undefined {
  // Whoever has a lease on the file may let others wait for it: not so those who will not wait.
  const descriptor = openSync(link, constants.O_RDONLY | constants.O_NONBLOCK);
  const isKept = files.size < maximumFiles && !files.has(name) && !name.endsWith(removedMark);
  if (isKept) files.set(name, descriptor);
  try {
    return wholeFile(`${path}/${name}`, descriptor, status, buffers);
  } finally {
    if (!isKept) closeSync(descriptor);
  }
}

/** @returns undefined when the file becomes shorter meanwhile */
function wholeFile(path: string, descriptor: number, status: Stats, buffers: BufferPool): WholeFile | undefined {
  const buffer = buffers.take();
  const release = () => buffers.give(buffer);
  if (readSync(descriptor, buffer, 0, status.size, 0) === status.size) {
    return { path, status, bytes: buffer.subarray(0, status.size), release };
  }
  release();
  return undefined;
}
