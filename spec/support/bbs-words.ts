import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Run, type RunOptions, runIsthmus } from './cli.js';
import { PlayedBbs } from './played-bbs.js';

/** A played Bulletin Board System, and an operator who says `isthmus bbs`. */
export interface BbsWords {
  bbs: PlayedBbs;
  /** The operator's current directory. */
  directory: string;
  /** Says a word; the BBS is named by the environment. */
  say(word: string[], options?: RunOptions): Promise<Run>;
  stop(): Promise<void>;
}

export async function startBbsWords(): Promise<BbsWords> {
  const bbs = await PlayedBbs.start();
  const directory = await mkdtemp(join(tmpdir(), 'bbs-words-'));
  return {
    bbs,
    directory,
    say: (word, options = {}) =>
      runIsthmus(directory, ['bbs', ...word], {
        directory,
        ...options,
        environment: { BBS_URL: bbs.url, ...options.environment },
      }),
    async stop() {
      await bbs.stop();
      await rm(directory, { recursive: true, force: true });
    },
  };
}
