import { chmod, mkdir, mkdtemp, readdir, rename, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { ArchiveError, unzip } from '../files/unzip.js';
import { DownloadError, downloadToFile } from '../http/download.js';
import { stripUserinfo } from '../http/url.js';
import { errorData, type Logger } from '../logging/logger.js';
import { abortable } from '../process/abortable.js';

export interface BuildpackCacheOptions {
  /** `<base_dir>/admin_buildpacks`; made when missing. */
  directory: string;
  logger: Logger;
  /** Pause before a download is tried again. @default 500 */
  retryDelayMs?: number;
  /** Limit for one attempt: all others wait for it. @default 600000 */
  downloadTimeoutMs?: number;
}

/** An admin buildpack as staging messages name it. */
export interface AdminBuildpack {
  /** Names the buildpack's version and so its directory. */
  key: string;
  url: string;
}

/** An admin buildpack arrived, but is no archive that can be unpacked. */
export class BuildpackArchiveError extends Error {
  constructor(key: string, cause: ArchiveError) {
    super(`Buildpack ${key} cannot be unpacked: ${cause.message}`, { cause });
  }
}

const maximumAttempts = 3;
/** What is larger would not be unpacked either. */
const largestArchiveBytes = 4 * 1024 ** 3;
/** What is being unpacked or deleted; keys never begin with a dot. */
const workPrefix = '.work-';

/**
 * Admin buildpacks on disk, unzipped, one directory per key (docs/protocol/dea.md §17.5). A directory is complete or
 * not there. One download at a time in the process.
 */
export class BuildpackCache {
  private readonly inUse = new Map<string, number>();
  /** Count of all uses so far, and what it was at the latest use of each key. */
  private uses = 0;
  private readonly latestUse = new Map<string, number>();
  private readonly removals = new Map<string, Promise<void>>();
  private queue: Promise<void> = Promise.resolve();
  private prepared: Promise<void> | undefined;

  private constructor(private readonly options: BuildpackCacheOptions) {}

  static create(options: BuildpackCacheOptions): BuildpackCache {
    return new BuildpackCache(options);
  }

  /**
   * Fetches what is missing. Gives the buildpacks' directories in the order of the entries; an entry whose key or URL
   * cannot be used is left out with a warning.
   *
   * @throws DownloadError when one does not arrive in three attempts
   * @throws BuildpackArchiveError when one is no usable archive
   * @throws the signal's reason
   */
  async ensure(entries: AdminBuildpack[], signal?: AbortSignal): Promise<string[]> {
    await this.prepare();
    const usable = uniqueKeys(entries.filter((entry) => this.isUsable(entry)));
    const release = this.hold(usable.map(({ key }) => key));
    try {
      for (const entry of usable) {
        signal?.throwIfAborted();
        await this.removals.get(entry.key);
        if (await this.isPresent(entry.key)) continue;
        await this.inTurn(() => this.fetchIfMissing(entry, signal), signal);
      }
      return usable.map(({ key }) => this.directoryOf(key));
    } finally {
      release();
    }
  }

  /** Removes all buildpacks but those with these keys, and those that `ensure` has been asked for meanwhile. */
  async prune(keysInUse: Iterable<string>): Promise<void> {
    const usesBefore = this.uses;
    await this.prepare();
    const kept = new Set(keysInUse);
    const names = await readdir(this.options.directory);
    const isUsed = (key: string) => this.inUse.has(key) || (this.latestUse.get(key) ?? 0) > usesBefore;
    const unused = names.filter((name) => isSafeKey(name) && !kept.has(name) && !isUsed(name));
    await Promise.all(unused.map((key) => this.remove(key)));
  }

  private directoryOf(key: string): string {
    return join(this.options.directory, key);
  }

  private prepare(): Promise<void> {
    this.prepared ??= this.removeLeftovers().catch((error: unknown) => {
      this.prepared = undefined;
      throw error;
    });
    return this.prepared;
  }

  /** Removes what a killed process left unfinished. */
  private async removeLeftovers(): Promise<void> {
    const { directory } = this.options;
    await mkdir(directory, { recursive: true, mode: 0o755 });
    const leftovers = (await readdir(directory)).filter((name) => name.startsWith(workPrefix));
    await Promise.all(leftovers.map((name) => rm(join(directory, name), { recursive: true, force: true })));
  }

  private async isPresent(key: string): Promise<boolean> {
    const status = await stat(this.directoryOf(key)).catch(() => undefined);
    return status?.isDirectory() ?? false;
  }

  private isUsable({ key, url }: AdminBuildpack): boolean {
    const reason = !isSafeKey(key) ? 'key' : !isHttpUrl(url) ? 'url' : undefined;
    if (reason) this.options.logger.warn('buildpack.entry.skipped', { key, url: stripUserinfo(url), reason });
    return reason === undefined;
  }

  private async fetchIfMissing(entry: AdminBuildpack, signal: AbortSignal | undefined): Promise<void> {
    signal?.throwIfAborted();
    // Another task may have fetched it while this one waited for its turn.
    if (await this.isPresent(entry.key)) return;
    const work = await mkdtemp(join(this.options.directory, workPrefix));
    try {
      const archive = join(work, 'buildpack.zip');
      await this.download(entry, archive, signal);
      const content = join(work, 'content');
      await this.unpack(entry.key, archive, content, signal);
      await rename(content, this.directoryOf(entry.key));
    } finally {
      await rm(work, { recursive: true, force: true });
    }
  }

  private async download({ key, url }: AdminBuildpack, path: string, signal: AbortSignal | undefined): Promise<void> {
    const { logger, retryDelayMs = 500, downloadTimeoutMs: timeoutMs = 600_000 } = this.options;
    const limits = { maxBytes: largestArchiveBytes, timeoutMs };
    for (let attempt = 1; ; attempt += 1) {
      try {
        await downloadToFile({ url, path, logger, ...limits, ...(signal && { signal }) });
        return;
      } catch (error) {
        if (!(error instanceof DownloadError) || attempt === maximumAttempts) throw error;
        logger.warn('buildpack.download.failed', { key, attempt, ...error.data, ...errorData(error) });
        await delay(retryDelayMs, undefined, signal ? { signal } : {});
      }
    }
  }

  private async unpack(key: string, archive: string, content: string, signal?: AbortSignal): Promise<void> {
    try {
      await unzip(archive, content, signal ? { signal } : {});
      // Read by the app's user in the staging container, whatever the process's umask.
      await chmod(content, 0o755);
    } catch (error) {
      if (error instanceof ArchiveError) throw new BuildpackArchiveError(key, error);
      throw error;
    }
  }

  private remove(key: string): Promise<void> {
    const removal = this.moveAsideAndDelete(key).finally(() => this.removals.delete(key));
    this.removals.set(key, removal);
    this.latestUse.delete(key);
    return removal;
  }

  private async moveAsideAndDelete(key: string): Promise<void> {
    const work = await mkdtemp(join(this.options.directory, workPrefix));
    try {
      // In one step: a directory under its own name is never half deleted.
      await rename(this.directoryOf(key), join(work, 'removed'));
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
    } finally {
      await rm(work, { recursive: true, force: true });
    }
  }

  /** Keeps `prune` from buildpacks that someone is about to use. */
  private hold(keys: string[]): () => void {
    this.uses += 1;
    for (const key of keys) {
      this.inUse.set(key, (this.inUse.get(key) ?? 0) + 1);
      this.latestUse.set(key, this.uses);
    }
    return () => {
      for (const key of keys) {
        const others = this.inUse.get(key)! - 1;
        if (others === 0) this.inUse.delete(key);
        else this.inUse.set(key, others);
      }
    };
  }

  /** Runs after everything that was queued before; who gives up while waiting leaves at once. */
  private async inTurn(work: () => Promise<void>, signal: AbortSignal | undefined): Promise<void> {
    const before = this.queue;
    let finish = () => {};
    const turn = new Promise<void>((resolve) => {
      finish = resolve;
    });
    this.queue = before.then(() => turn);
    try {
      await abortable(before, signal);
      await work();
    } finally {
      finish();
    }
  }
}

/** A key becomes one name of a directory, and part of paths that scripts are given. */
function isSafeKey(key: string): boolean {
  return /^[A-Za-z0-9_][A-Za-z0-9_.+@=~-]{0,199}$/.test(key);
}

function isHttpUrl(text: string): boolean {
  return URL.canParse(text) && ['http:', 'https:'].includes(new URL(text).protocol);
}

function uniqueKeys(entries: AdminBuildpack[]): AdminBuildpack[] {
  return entries.filter(({ key }, index) => entries.findIndex((entry) => entry.key === key) === index);
}
