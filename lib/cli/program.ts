import { Command, CommanderError } from 'commander';
import { CliError } from './cli-error.js';
import { addBbsCommand } from './command-line/bbs/bbs.js';
import { addBuildpackCommands } from './command-line/buildpacks.js';
import { addEnvironmentCommands } from './command-line/environment.js';
import { addLifecycleCommands } from './command-line/lifecycle.js';
import { addPushCommand } from './command-line/push.js';
import { addRouteCommands } from './command-line/routes.js';
import { addShowCommands } from './command-line/show.js';
import { WordFailure } from './commands/bbs/session/word-failure.js';
import { type RunCommand, type TargetOptions, type Terminal, withSession } from './session.js';

/** Exit status of a command that was ended by Ctrl-C. */
const interruptedStatus = 130;

/**
 * Runs `isthmus` with the given arguments.
 * @returns the exit status: 0, 1 when the command failed or was mistyped (words of cfdot have its own), 130 after Ctrl-C
 */
export async function runCli(args: string[], terminal: Terminal): Promise<number> {
  try {
    await createProgram(terminal).parseAsync(args, { from: 'user' });
    return 0;
  } catch (error) {
    if (terminal.signal.aborted) return interruptedStatus;
    if (error instanceof CommanderError) return error.exitCode;
    if (error instanceof WordFailure) {
      terminal.error(`${error.message}\n`);
      return error.status;
    }
    terminal.error(`isthmus: ${error instanceof CliError ? error.message : unexpected(error)}\n`);
    return 1;
  }
}

function createProgram(terminal: Terminal): Command {
  const program = new Command('isthmus')
    .description('Pushes apps to a Cloud Controller and looks after them.')
    .option('--target <url>', 'the Cloud Controller ($ISTHMUS_TARGET; default: the one that runs on this machine)')
    .option('--token <token>', 'token of its client API ($ISTHMUS_TOKEN)')
    .exitOverride()
    .configureOutput({ writeOut: (text) => terminal.out(text), writeErr: (text) => terminal.error(text) })
    .showHelpAfterError('(isthmus --help tells more)');
  const run: RunCommand = (command) => withSession(terminal, program.opts<TargetOptions>(), command);
  program.commandsGroup('Pushing and running:');
  addPushCommand(program, run);
  addLifecycleCommands(program, run);
  program.commandsGroup('Looking:');
  addShowCommands(program, run);
  program.commandsGroup('Addresses, variables:');
  addRouteCommands(program, run);
  addEnvironmentCommands(program, run);
  program.commandsGroup('Buildpacks:');
  addBuildpackCommands(program, run);
  program.commandsGroup('Diego:');
  addBbsCommand(program, terminal);
  return program;
}

/** What is no refusal of ours is told with its causes, but without a stack. */
function unexpected(error: unknown): string {
  const messages: string[] = [];
  for (let current = error; current instanceof Error; current = current.cause) messages.push(current.message);
  return messages.join(': ') || String(error);
}
