import { type FSWatcher, type Stats, watch } from 'node:fs';
import { lstat } from 'node:fs/promises';
import type { ServedEntry } from '../../files/held-place.js';

/** What a look at a followed file found. */
export type Look =
  /** Another file is there now, or none. */
  { isGone: true } | { isGone: false; size: number };

export interface FollowOptions {
  /** Absolute path that the file was opened by; when another file or none is there, it is gone. */
  path: string;
  /** The open file; stays open until the follower has closed. */
  entry: ServedEntry;
  /** Milliseconds without a change after which `next` gives `idle`. */
  idleMs: number;
}

/** Pause between two looks at files that change, and so the longest time until somebody learns of new bytes. */
const periodMs = 50;
/** Milliseconds after which a quiet file is looked at in any case: not every file system tells of all changes. */
const quietPeriodMs = 1000;

/**
 * Files that clients follow (docs/protocol/dea.md §20.5). However many follow, there is one timer, and one watch and one
 * look for each file:
 *
 * ```
 *          the kernel tells of a change, or a second has passed
 *   quiet ------------------------------------------------------> busy: looked at every 50 ms
 *     ^                                                             |
 *     +------------- watched again, and a look found nothing -------+
 * ```
 */
export class FollowedFiles {
  private readonly files = new Map<string, FollowedFile>();
  private timer: NodeJS.Timeout | undefined;
  private isLooking = false;

  /** Begins with a look within 50 ms. */
  follow(options: FollowOptions): Follower {
    const { path, entry } = options;
    const key = `${entry.status.dev}:${entry.status.ino}:${path}`;
    const file = this.files.get(key) ?? new FollowedFile(path, entry.status);
    this.files.set(key, file);
    this.timer ??= setInterval(() => void this.lookAtAll(), periodMs);
    const follower = new Follower(options, file.newsBeforeNextLook(), () => {
      file.remove(follower);
      if (file.isForgotten) this.files.delete(key);
      if (this.files.size > 0) return;
      clearInterval(this.timer);
      this.timer = undefined;
    });
    file.add(follower);
    return follower;
  }

  /** Files that are followed at present. */
  get count(): number {
    return this.files.size;
  }

  /** A slow disk gets the next looks only when it has answered the last ones. */
  private async lookAtAll(): Promise<void> {
    if (this.isLooking) return;
    this.isLooking = true;
    const nowMs = performance.now();
    const due = [...this.files.values()].filter((file) => file.isDue(nowMs));
    await Promise.all(due.map((file) => file.look()));
    const lookedMs = performance.now();
    for (const file of this.files.values()) file.tell(lookedMs);
    this.isLooking = false;
  }
}

/** One client's place among the followers of a file. */
export class Follower {
  private answer: ((look: Look | 'idle' | 'closed') => void) | undefined;
  private isClosed = false;
  private readonly sinceMs = performance.now();

  /** For `FollowedFiles`. */
  constructor(
    private readonly options: FollowOptions,
    /** Number of the last news that it has, or does not want. */
    private seen: number,
    private readonly leave: () => void,
  ) {}

  /** An open descriptor of the file. */
  get descriptor(): number {
    return this.options.entry.handle.fd;
  }

  /**
   * Waits for news. The first call gives what the next look finds, each further one what has changed since; after too
   * long without a change, `idle`.
   */
  next(): Promise<Look | 'idle' | 'closed'> {
    if (this.isClosed) return Promise.resolve('closed');
    return new Promise((resolve) => {
      this.answer = resolve;
    });
  }

  /** Idempotent; whoever waits gets `closed`. */
  close(): void {
    if (this.isClosed) return;
    this.isClosed = true;
    this.leave();
    this.give('closed');
  }

  /** For `FollowedFile`, every 50 ms. */
  tell(news: number, look: Look, changedMs: number, nowMs: number): void {
    if (!this.answer) return;
    if (news > this.seen) {
      this.seen = news;
      this.give(look);
    } else if (nowMs - Math.max(changedMs, this.sinceMs) >= this.options.idleMs) this.give('idle');
  }

  private give(look: Look | 'idle' | 'closed'): void {
    const { answer } = this;
    this.answer = undefined;
    answer?.(look);
  }
}

/** A file, what the last look found, and who follows it. */
class FollowedFile {
  private readonly followers = new Set<Follower>();
  private found: Look;
  private modifiedMs: number;
  private changedMs = Number.NEGATIVE_INFINITY;
  /** Counts looks that found something else than the one before. */
  private news = 0;
  /** A newcomer gets the next look, whatever it finds. */
  private isAwaited = true;
  private watcher: FSWatcher | undefined;
  private isBusy = true;
  private lookedMs = Number.NEGATIVE_INFINITY;

  constructor(
    private readonly path: string,
    private readonly identity: Stats,
  ) {
    this.found = { isGone: false, size: identity.size };
    this.modifiedMs = identity.mtimeMs;
  }

  get isForgotten(): boolean {
    return this.followers.size === 0;
  }

  add(follower: Follower): void {
    this.followers.add(follower);
  }

  remove(follower: Follower): void {
    this.followers.delete(follower);
    if (this.isForgotten) this.unwatch();
  }

  /** Asks for a look, and gives the number that its news will be above of. */
  newsBeforeNextLook(): number {
    this.isAwaited = true;
    this.isBusy = true;
    return this.news;
  }

  isDue(nowMs: number): boolean {
    return this.isBusy || nowMs - this.lookedMs >= quietPeriodMs;
  }

  async look(): Promise<void> {
    const isAwaited = this.isAwaited;
    const wasWatched = this.watcher !== undefined;
    this.isAwaited = false;
    const status = await lstat(this.path).catch(() => undefined);
    this.lookedMs = performance.now();
    const isThere = status?.ino === this.identity.ino && status.dev === this.identity.dev;
    const hasChanged = !isThere || status.size !== this.size || status.mtimeMs !== this.modifiedMs;
    if (isThere) {
      this.found = { isGone: false, size: status.size };
      this.modifiedMs = status.mtimeMs;
    } else this.found = { isGone: true };
    if (hasChanged) this.changedMs = this.lookedMs;
    if (hasChanged || isAwaited) this.news += 1;
    if (hasChanged) this.isBusy = true;
    // Quiet only if the watch was there before the look: nothing can have come between them unseen.
    else if (wasWatched && this.watcher) this.isBusy = false;
    else this.watch();
  }

  tell(nowMs: number): void {
    for (const follower of this.followers) follower.tell(this.news, this.found, this.changedMs, nowMs);
  }

  private get size(): number {
    return this.found.isGone ? -1 : this.found.size;
  }

  /** Where the kernel has no more watches to give, the file just stays busy. */
  private watch(): void {
    const [follower] = this.followers;
    if (this.watcher || !follower) return;
    try {
      this.watcher = watch(`/proc/self/fd/${follower.descriptor}`, { persistent: false }, () => this.wake());
      this.watcher.once('error', () => this.wake());
    } catch {
      this.unwatch();
    }
  }

  /** One word of the kernel is enough: a file that is written to thousands of times a second must not be told of each. */
  private wake(): void {
    this.isBusy = true;
    this.unwatch();
  }

  private unwatch(): void {
    this.watcher?.close();
    this.watcher = undefined;
  }
}
