import type { Command } from 'commander';
import type { BbsSession } from '../../commands/bbs/session/bbs-session.js';

/** Runs the word of a command with a session of its own. */
export type RunWord = (command: Command, word: (session: BbsSession) => Promise<void>) => Promise<void>;
