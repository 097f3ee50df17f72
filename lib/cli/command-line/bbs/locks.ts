import { type Command, InvalidArgumentError, Option } from 'commander';
import { type Claim, claim, locks, releaseLock } from '../../commands/bbs/locks.js';
import type { LocketSession } from '../../commands/bbs/session/locket-session.js';
import { parseName, parseTtlSeconds } from './arguments.js';

/** Runs the word of a command with a session of its own. */
export type RunLocketWord = (command: Command, word: (session: LocketSession) => Promise<void>) => Promise<void>;

/** Words about the locks and presences of a Locket. */
export function addLockWords(bbs: Command, run: RunLocketWord): void {
  bbs
    .command('locks')
    .description('list the locks of a Locket')
    .action((_options: object, command: Command) => run(command, (session) => locks(session, 'lock')));
  bbs
    .command('presences')
    .description('list the presences of a Locket')
    .action((_options: object, command: Command) => run(command, (session) => locks(session, 'presence')));
  for (const type of ['lock', 'presence'] as const) {
    bbs
      .command(`claim-${type}`)
      .description(`take a ${type}, or renew it`)
      .addOption(keyOption())
      .addOption(ownerOption())
      .option('-v, --value <text>', 'what goes with it')
      .addOption(ttlOption())
      .action((asked: Claim, command: Command) => run(command, (session) => claim(session, type, asked)));
  }
  bbs
    .command('release-lock')
    .description('give a lock or a presence back')
    .addOption(keyOption())
    .addOption(ownerOption())
    .action((asked: Claim, command: Command) => run(command, (session) => releaseLock(session, asked)));
}

function keyOption(): Option {
  return new Option('-k, --key <key>', 'its name').argParser(parseName).makeOptionMandatory();
}

function ownerOption(): Option {
  return new Option('-o, --owner <owner>', 'whose it is').argParser(parseName).makeOptionMandatory();
}

function ttlOption(): Option {
  return new Option('-t, --ttl <time>', 'for how long, such as 15 or 1m')
    .argParser(parseLimitedTtl)
    .makeOptionMandatory();
}

/** Nothing is held for ever. */
function parseLimitedTtl(text: string): number {
  const seconds = parseTtlSeconds(text);
  if (seconds === 0) throw new InvalidArgumentError('ttl must be greater than zero.');
  return seconds;
}
