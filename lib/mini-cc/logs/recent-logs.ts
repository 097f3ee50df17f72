/** One line of an app's log, as it was said. */
export interface LogLine {
  /** Since 1970, nanoseconds. */
  timestampNs: bigint;
  type: 'OUT' | 'ERR';
  /** `App`, `STG`, `DEA`, `API`. */
  sourceType: string;
  sourceInstance: string;
  text: Buffer;
}

/** Somebody who reads on. */
export interface LogFollower {
  line(line: LogLine): void;
  /** Nothing more will come. */
  end(): void;
}

export interface RecentLogsOptions {
  /** Lines of each app. @default 100 */
  linesPerApp?: number;
  /** Bytes of all apps together. @default 32 MiB */
  totalBytes?: number;
}

interface Kept {
  lines: LogLine[];
  bytes: number;
}

/**
 * The last lines of each app, in memory (docs/protocol/legacy-cc.md §12). When all together grow too large, the apps that
 * have been silent for longest are forgotten.
 */
export class RecentLogs {
  readonly #linesPerApp: number;
  readonly #totalBytes: number;
  /** The app that spoke last comes last. */
  readonly #apps = new Map<string, Kept>();
  readonly #followers = new Map<string, Set<LogFollower>>();
  #bytes = 0;

  constructor({ linesPerApp = 100, totalBytes = 32 * 1024 * 1024 }: RecentLogsOptions = {}) {
    this.#linesPerApp = linesPerApp;
    this.#totalBytes = totalBytes;
  }

  add(appGuid: string, line: LogLine): void {
    const kept = this.#apps.get(appGuid) ?? { lines: [], bytes: 0 };
    this.#apps.delete(appGuid);
    this.#apps.set(appGuid, kept);
    kept.lines.push(line);
    this.#count(kept, sizeOf(line));
    if (kept.lines.length > this.#linesPerApp) this.#count(kept, -sizeOf(kept.lines.shift()!));
    this.#forgetSilentApps();
    for (const follower of this.#followers.get(appGuid) ?? []) follower.line(line);
  }

  /** The kept lines in the order of their times: those of several cells arrive mixed up. */
  recent(appGuid: string): LogLine[] {
    const { lines } = this.#apps.get(appGuid) ?? { lines: [] };
    return [...lines].sort((a, b) => (a.timestampNs < b.timestampNs ? -1 : a.timestampNs > b.timestampNs ? 1 : 0));
  }

  /** Gives lines from now on, in the order they come. @returns a function that ends it */
  follow(appGuid: string, follower: LogFollower): () => void {
    const followers = this.#followers.get(appGuid) ?? new Set();
    this.#followers.set(appGuid, followers.add(follower));
    return () => {
      followers.delete(follower);
      if (followers.size === 0 && this.#followers.get(appGuid) === followers) this.#followers.delete(appGuid);
    };
  }

  /** Tells all who follow that nothing more comes. Idempotent. */
  stop(): void {
    const followers = [...this.#followers.values()].flatMap((set) => [...set]);
    this.#followers.clear();
    for (const follower of followers) follower.end();
  }

  #count(kept: Kept, bytes: number): void {
    kept.bytes += bytes;
    this.#bytes += bytes;
  }

  #forgetSilentApps(): void {
    for (const [appGuid, kept] of this.#apps) {
      if (this.#bytes <= this.#totalBytes || this.#apps.size === 1) return;
      this.#bytes -= kept.bytes;
      this.#apps.delete(appGuid);
    }
  }
}

/** What a line takes besides its text, about. */
const overheadBytes = 200;

function sizeOf({ text }: LogLine): number {
  return text.length + overheadBytes;
}
