import { type Command, CommanderError, type Option } from 'commander';
import { withBbs } from '../../commands/bbs/session/bbs-session.js';
import { withLocket } from '../../commands/bbs/session/locket-session.js';
import type { SessionFlags } from '../../commands/bbs/session/session-flags.js';
import { BadArguments, exitStatus } from '../../commands/bbs/session/word-failure.js';
import type { Terminal } from '../../session.js';
import { addCellWords, addDomainWords } from './cells.js';
import { addEventWords } from './events.js';
import { addLockWords, type RunLocketWord } from './locks.js';
import { addLrpWords } from './lrps.js';
import type { RunWord } from './run-word.js';
import { addTaskWords } from './tasks.js';

/** Codes of commander that cfdot has another status for than for bad arguments (docs/protocol/bbs.md §20). */
const unknownFlagCodes = new Set([
  'commander.unknownOption',
  'commander.optionMissingArgument',
  'commander.unknownCommand',
]);

const statusHelp =
  'Exit status: 3 bad arguments, 4 refused, 5 not reached or not found, 130 interrupted, 255 no such flag or word.';

/** `isthmus bbs`: the words of cfdot for a Bulletin Board System. */
export function addBbsCommand(program: Command, terminal: Terminal): void {
  const bbs: Command = program
    .command('bbs')
    .description('look after a Bulletin Board System, in the words of cfdot')
    .usage('[options] WORD')
    .option('--bbsURL <url>', 'the BBS ($BBS_URL)')
    .option('--locketAPILocation <host:port>', 'the Locket, for words about locks ($LOCKET_API_LOCATION)')
    .option('--caCertFile <file>', 'the authority that signed its certificate ($CA_CERT_FILE)')
    .option('--clientCertFile <file>', 'certificate to show to it ($CLIENT_CERT_FILE)')
    .option('--clientKeyFile <file>', 'key of that certificate ($CLIENT_KEY_FILE)')
    .option('--skipCertVerify', 'trust any certificate ($SKIP_CERT_VERIFY)')
    .option('--timeout <seconds>', 'of each request ($CFDOT_TIMEOUT; default: none)')
    .option('--json', 'print JSON, a line each, also on a terminal')
    .configureHelp({
      showGlobalOptions: true,
      // Those of `isthmus` itself are for the Cloud Controller.
      visibleGlobalOptions: (command): Option[] => (command === bbs ? [] : [...bbs.options]),
    })
    .configureOutput({ outputError: (text, write) => write(text.replace(/^error: /, 'Error: ')) })
    .showHelpAfterError(true)
    .addHelpText('after', `\n${statusHelp}`)
    .exitOverride((error) => {
      throw new CommanderError(statusOf(error), error.code, error.message);
    });
  const run: RunWord = (command, word) =>
    refusing(command, () => withBbs(terminal, command.optsWithGlobals<SessionFlags>(), word));
  const runWithLocket: RunLocketWord = (command, word) =>
    refusing(command, () => withLocket(terminal, command.optsWithGlobals<SessionFlags>(), word));
  bbs.commandsGroup('LRPs:');
  addLrpWords(bbs, run);
  bbs.commandsGroup('Tasks:');
  addTaskWords(bbs, run);
  bbs.commandsGroup('Domains:');
  addDomainWords(bbs, run);
  bbs.commandsGroup('Cells:');
  addCellWords(bbs, run);
  bbs.commandsGroup('Events:');
  addEventWords(bbs, run);
  bbs.commandsGroup('Locks:');
  addLockWords(bbs, runWithLocket);
}

/** Shows the usage with arguments that the word itself refuses. */
async function refusing(command: Command, run: () => Promise<void>): Promise<void> {
  try {
    await run();
  } catch (error) {
    if (error instanceof BadArguments) command.error(`error: ${error.message}`, { exitCode: exitStatus.badArguments });
    throw error;
  }
}

/** Of a mistyped command line; 0 for help that was asked for. */
function statusOf({ code, exitCode }: CommanderError): number {
  if (exitCode === 0) return 0;
  return unknownFlagCodes.has(code) ? exitStatus.unknownFlag : exitStatus.badArguments;
}
