import { constants, type Stats } from 'node:fs';
import { chmod, copyFile, link, lstat, mkdir, open, readdir, rename, rm, stat, utimes } from 'node:fs/promises';
import { join } from 'node:path';
import { syncDirectory } from '../files/atomic-write.js';
import { fileDigest } from '../files/digest.js';
import { downloadLeftover, downloadToFile } from '../http/download.js';
import { errorData, type Logger } from '../logging/logger.js';
import { SharedWork } from './shared-work.js';

export interface DropletCacheOptions {
  /** `<base_dir>/droplets`; made when missing. */
  directory: string;
  /** Size that the least recently used droplets are removed for. A droplet in use is kept, whatever the size. */
  maxBytes: number;
  logger: Logger;
  /** Whether an instance needs the droplet; such a one is not removed for its size. @default never */
  isReferenced?: (sha1: string) => boolean;
  /** A droplet used so recently is not removed for its size. @default 600000 */
  graceMs?: number;
  /** Milliseconds since the epoch. @default Date.now */
  clock?: () => number;
}

export interface DropletRequest {
  /** 40 hexadecimal digits; null is an error. */
  sha1: string | null;
  /** Where to get it when it is not there; null when it can only be there. */
  url: string | null;
  signal?: AbortSignal;
}

export interface CachedDroplet {
  /** `<directory>/<sha1>/droplet.tgz` */
  path: string;
  /** `<directory>/<sha1>`, for mounting into a container. */
  directory: string;
}

interface Entry {
  /** 0 while the directory is empty. */
  bytes: number;
  lastUsedMs: number;
  /** What the file looked like when its SHA-1 was last found right. */
  verified: string | undefined;
}

const dropletName = 'droplet.tgz';
/** Mode that the original agent gives droplets. */
const dropletMode = 0o744;
const sha1Pattern = /^[0-9a-f]{40}$/;
const removedPattern = /^[0-9a-f]{40}\.deleted\./;
const addedLeftover = /^\..*\.add$/;

/**
 * Droplets on disk by their SHA-1 (docs/protocol/dea.md §9.1). A droplet is fetched once, however many ask for it at
 * the same time; what is on disk is used only when its SHA-1 is right. Survives restarts: the directory is the state,
 * the directory's time of change its last use.
 */
export class DropletCache {
  private readonly entries = new Map<string, Entry>();
  private readonly fetches = new Map<string, SharedWork<CachedDroplet>>();
  /** Work in progress per droplet; a busy droplet is not removed. */
  private readonly busy = new Map<string, number>();
  private readonly removals = new Map<string, Promise<void>>();
  private readonly deletions = new Set<Promise<void>>();
  private sequence = 0;

  private constructor(private readonly options: DropletCacheOptions) {}

  static create(options: DropletCacheOptions): DropletCache {
    return new DropletCache(options);
  }

  /** Learns what is on disk and removes what a killed process left unfinished. */
  async start(): Promise<void> {
    const { directory } = this.options;
    await mkdir(directory, { recursive: true, mode: 0o755 });
    for (const name of await readdir(directory)) {
      if (removedPattern.test(name)) this.deleteInBackground(join(directory, name));
      else if (sha1Pattern.test(name)) await this.discover(name);
    }
    await this.shrink();
  }

  /** Gives up downloads and waits for deletions. Idempotent; droplets stay. */
  async stop(): Promise<void> {
    const reason = new Error('the droplet cache was stopped');
    await Promise.all([...this.fetches.values()].map((fetch) => fetch.abandon(reason)));
    await Promise.all(this.deletions);
  }

  /**
   * Makes the droplet's directory, which can be mounted while the droplet itself is still on its way.
   * @throws when `sha1` is null or no SHA-1
   */
  async prepareDirectory(sha1: string | null): Promise<string> {
    const key = cacheKey(sha1);
    return this.whileBusy(key, () => this.makeDirectory(key));
  }

  /**
   * The droplet, from disk or else by download. Those who ask for the same one at the same time share the work and its
   * result, an error too.
   *
   * @throws Error `sha cannot be nil`, or that it is no SHA-1
   * @throws DownloadError when it does not arrive or has other content
   * @throws the signal's reason
   */
  async acquire({ sha1, url, signal }: DropletRequest): Promise<CachedDroplet> {
    const key = cacheKey(sha1);
    const running = this.fetches.get(key);
    if (running && !running.isAbandoned) return running.join(signal);
    const fetch = new SharedWork((sharedSignal) =>
      this.whileBusy(key, () => this.fetch(key, url, sharedSignal)).finally(() => {
        if (this.fetches.get(key) === fetch) this.fetches.delete(key);
      }),
    );
    this.fetches.set(key, fetch);
    try {
      return await fetch.join(signal);
    } finally {
      await this.shrink();
    }
  }

  /**
   * Takes a file as the droplet with this SHA-1, which the caller has computed. Shares the file's blocks where the
   * file system can; the original may be removed afterwards, but must not be changed.
   */
  async add(file: string, sha1: string): Promise<CachedDroplet> {
    const key = cacheKey(sha1);
    const droplet = await this.whileBusy(key, async () => {
      const { path, directory } = this.place(key);
      await this.makeDirectory(key);
      this.sequence += 1;
      const temporary = join(directory, `.${dropletName}-${process.pid}-${this.sequence}.add`);
      try {
        await linkOrCopy(file, temporary);
        await chmod(temporary, dropletMode);
        await syncFile(temporary);
        await rename(temporary, path);
        await syncDirectory(directory);
      } finally {
        // Also when all went well: renaming one name of a file to another name of it does nothing.
        await rm(temporary, { force: true });
      }
      await this.remember(key, await lstat(path));
      return { path, directory };
    });
    await this.shrink();
    return droplet;
  }

  /** Removes all droplets but these and those being fetched. */
  async prune(referencedSha1s: Iterable<string>): Promise<void> {
    const referenced = new Set([...referencedSha1s].map((sha1) => sha1.toLowerCase()));
    const unreferenced = [...this.entries.keys()].filter((key) => !referenced.has(key));
    await Promise.all(unreferenced.map((key) => this.removeUnlessBusy(key)));
  }

  /** Gives up downloads and removes all droplets; resolves when they are gone from the disk. */
  async clear(): Promise<void> {
    await this.stop();
    await this.prune([]);
    await Promise.all(this.deletions);
  }

  private place(key: string): CachedDroplet {
    const directory = join(this.options.directory, key);
    return { directory, path: join(directory, dropletName) };
  }

  private async fetch(key: string, url: string | null, signal: AbortSignal): Promise<CachedDroplet> {
    const { logger } = this.options;
    await this.makeDirectory(key);
    const droplet = this.place(key);
    if (await this.isIntact(key)) {
      await this.remember(key, await lstat(droplet.path));
      return droplet;
    }
    if (url === null) throw new Error(`droplet ${key} is not in the cache and has no URL`);
    await downloadToFile({ url, path: droplet.path, mode: dropletMode, expectedSha1: key, signal, logger });
    await this.remember(key, await lstat(droplet.path));
    return droplet;
  }

  /** Whether the droplet is on disk with the right content; computed once per version of the file. */
  private async isIntact(key: string): Promise<boolean> {
    const { path } = this.place(key);
    const status = await lstat(path).catch(() => undefined);
    if (!status) return false;
    if (status.isFile()) {
      if (this.entries.get(key)?.verified === identityOf(status)) return true;
      if ((await fileDigest(path, 'sha1')) === key) return true;
    }
    this.options.logger.warn('droplet-cache.droplet.corrupt', { sha1: key });
    await rm(path, { recursive: true, force: true });
    return false;
  }

  private async discover(key: string): Promise<void> {
    const { path, directory } = this.place(key);
    for (const name of await readdir(directory)) {
      if (downloadLeftover.test(name) || addedLeftover.test(name)) await rm(join(directory, name), { force: true });
    }
    const droplet = await lstat(path).catch(() => undefined);
    const { mtimeMs } = await stat(directory);
    this.entries.set(key, { bytes: droplet?.size ?? 0, lastUsedMs: mtimeMs, verified: undefined });
    if (!droplet) await this.removeUnlessBusy(key);
  }

  private async makeDirectory(key: string): Promise<string> {
    await this.removals.get(key);
    const { directory } = this.place(key);
    await mkdir(directory, { recursive: true, mode: 0o755 });
    const { bytes = 0, verified } = this.entries.get(key) ?? {};
    this.entries.set(key, { bytes, verified, lastUsedMs: this.now() });
    return directory;
  }

  private async remember(key: string, status: Stats): Promise<void> {
    const lastUsedMs = this.now();
    this.entries.set(key, { bytes: status.size, lastUsedMs, verified: identityOf(status) });
    await utimes(this.place(key).directory, lastUsedMs / 1000, lastUsedMs / 1000);
  }

  /** Removes droplets, the least recently used first, until the rest fits. */
  private async shrink(): Promise<void> {
    const { maxBytes, isReferenced = () => false, graceMs = 600_000 } = this.options;
    const sizes = [...this.entries.values()].map(({ bytes }) => bytes);
    let total = sizes.reduce((sum, bytes) => sum + bytes, 0);
    const oldestFirst = [...this.entries].sort(([, a], [, b]) => a.lastUsedMs - b.lastUsedMs);
    for (const [key, { bytes }] of oldestFirst) {
      if (total <= maxBytes) return;
      // Looked up again: it may have been used while others were removed.
      const lastUsedMs = this.entries.get(key)?.lastUsedMs ?? 0;
      if (bytes === 0 || isReferenced(key) || this.now() - lastUsedMs < graceMs) continue;
      if (!(await this.removeUnlessBusy(key))) continue;
      total -= bytes;
      this.options.logger.debug('droplet-cache.droplet.evicted', { sha1: key, bytes });
    }
  }

  private async removeUnlessBusy(key: string): Promise<boolean> {
    if (this.busy.has(key) || !this.entries.delete(key)) return false;
    const removal = this.moveAside(key).finally(() => this.removals.delete(key));
    this.removals.set(key, removal);
    await removal;
    return true;
  }

  /** The name tells what it is, should the process end before all is deleted. */
  private async moveAside(key: string): Promise<void> {
    const { directory } = this.place(key);
    this.sequence += 1;
    const aside = `${directory}.deleted.${Math.floor(this.now() / 1000)}.${this.sequence}`;
    try {
      await rename(directory, aside);
      this.deleteInBackground(aside);
    } catch (error) {
      this.options.logger.warn('droplet-cache.removal.failed', { sha1: key, ...errorData(error) });
    }
  }

  private deleteInBackground(path: string): void {
    const deletion = rm(path, { recursive: true, force: true })
      .catch((error: unknown) => this.options.logger.warn('droplet-cache.deletion.failed', errorData(error)))
      .finally(() => this.deletions.delete(deletion));
    this.deletions.add(deletion);
  }

  private async whileBusy<Result>(key: string, work: () => Promise<Result>): Promise<Result> {
    this.busy.set(key, (this.busy.get(key) ?? 0) + 1);
    try {
      return await work();
    } finally {
      const others = this.busy.get(key)! - 1;
      if (others === 0) this.busy.delete(key);
      else this.busy.set(key, others);
    }
  }

  private now(): number {
    return (this.options.clock ?? Date.now)();
  }
}

/** The key is part of a path, so nothing but a SHA-1 is one. */
function cacheKey(sha1: string | null): string {
  if (sha1 === null || sha1 === '') throw new Error('sha cannot be nil');
  const key = sha1.toLowerCase();
  if (!sha1Pattern.test(key)) throw new Error(`${JSON.stringify(sha1)} is no SHA-1`);
  return key;
}

/** Changes whenever the file's content may have. */
function identityOf({ ino, size, mtimeMs }: Stats): string {
  return `${ino}:${size}:${mtimeMs}`;
}

async function linkOrCopy(from: string, to: string): Promise<void> {
  try {
    await link(from, to);
  } catch (error) {
    if (!['EXDEV', 'EPERM', 'EMLINK', 'ENOTSUP'].includes((error as NodeJS.ErrnoException).code ?? '')) throw error;
    await copyFile(from, to, constants.COPYFILE_EXCL | constants.COPYFILE_FICLONE);
  }
}

async function syncFile(path: string): Promise<void> {
  const file = await open(path, 'r');
  try {
    await file.sync();
  } finally {
    await file.close();
  }
}
