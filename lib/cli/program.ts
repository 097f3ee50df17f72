import { Command, CommanderError, InvalidArgumentError, Option } from 'commander';
import { CliError } from './cli-error.js';
import { deleteApp, restage, restart, type ScaleOptions, scale, start, stop } from './commands/lifecycle.js';
import { type PushOptions, push } from './commands/push.js';
import { app, apps, events, files, stats } from './commands/show.js';
import { collectVariable, parseCount, parseMegabytes } from './quantities.js';
import { type Session, type TargetOptions, type Terminal, withSession } from './session.js';

/** Exit status of a command that was ended by Ctrl-C. */
const interruptedStatus = 130;

/**
 * Runs `isthmus` with the given arguments.
 * @returns the exit status: 0, 1 when the command failed or was mistyped, 130 after Ctrl-C
 */
export async function runCli(args: string[], terminal: Terminal): Promise<number> {
  try {
    await createProgram(terminal).parseAsync(args, { from: 'user' });
    return 0;
  } catch (error) {
    if (terminal.signal.aborted) return interruptedStatus;
    if (error instanceof CommanderError) return error.exitCode;
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
  const run = (command: (session: Session) => Promise<void>) =>
    withSession(terminal, program.opts<TargetOptions>(), command);

  program
    .command('push <name> <directory>')
    .description('create or update an app from a directory, stage and start it')
    .option('-m, --memory <limit>', 'memory of each instance, 256M or 1G', parseMegabytes)
    .option('-k, --disk <limit>', 'disk of each instance, 512M or 1G', parseMegabytes)
    .option('-i, --instances <number>', 'how many instances', parseCount)
    .option('-b, --buildpack <name-or-url>', 'a buildpack instead of detection; "default" goes back to detection')
    .option('-c, --command <command>', 'start command; "default" goes back to the buildpack\'s')
    .option('--env <name=value>', 'environment variable; repeat it for more', collectVariable, {})
    .option('--hostname <host>', "first part of the app's address (default: its name)", parseHostname)
    .option('--no-route', 'no address at all')
    .action((name: string, directory: string, options: Omit<PushOptions, 'name' | 'directory'> & { route: boolean }) =>
      run((session) => push(session, { ...options, name, directory, hasRoute: options.route })),
    );
  program
    .command('apps')
    .description('list all apps')
    .addOption(jsonOption())
    .action(({ json = false }: JsonOptions) => run((session) => apps(session, json)));
  program
    .command('app <name>')
    .description('show an app and its instances')
    .addOption(jsonOption())
    .action((name: string, { json = false }: JsonOptions) => run((session) => app(session, name, json)));
  program
    .command('scale <name>')
    .description('change the number of instances, or their limits, which restarts the app')
    .option('-i, --instances <number>', 'how many instances', parseCount)
    .option('-m, --memory <limit>', 'memory of each instance, 256M or 1G', parseMegabytes)
    .option('-k, --disk <limit>', 'disk of each instance, 512M or 1G', parseMegabytes)
    .action((name: string, options: ScaleOptions) => run((session) => scale(session, name, options)));
  const lifecycle = { start, stop, restart, restage };
  const descriptions = {
    start: 'start an app',
    stop: 'stop an app',
    restart: 'stop and start an app',
    restage: "make a new droplet of an app's files and start it",
  };
  for (const verb of ['start', 'stop', 'restart', 'restage'] as const) {
    program
      .command(`${verb} <name>`)
      .description(descriptions[verb])
      .action((name: string) => run((session) => lifecycle[verb](session, name)));
  }
  program
    .command('delete <name>')
    .description('delete an app and all that belongs to it')
    .option('-f, --force', 'do it without asking')
    .action((name: string, { force = false }: { force?: boolean }) =>
      run((session) => deleteApp(session, name, force)),
    );
  program
    .command('files <name> [path]')
    .description("print a file of an instance, or a directory's listing")
    .option('-i, --index <index>', 'which instance', parseCount, 0)
    .action((name: string, path: string | undefined, { index }: { index: number }) =>
      run((session) => files(session, name, path ?? '', index)),
    );
  program
    .command('stats <name>')
    .description('show what the instances of an app use')
    .addOption(jsonOption())
    .action((name: string, { json = false }: JsonOptions) => run((session) => stats(session, name, json)));
  program
    .command('events <name>')
    .description('show what happened to an app')
    .action((name: string) => run((session) => events(session, name)));
  return program;
}

interface JsonOptions {
  json?: boolean;
}

function jsonOption(): Option {
  return new Option('--json', 'print JSON');
}

function parseHostname(text: string): string {
  if (!/^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/i.test(text))
    throw new InvalidArgumentError('Give one part of a host name.');
  return text.toLowerCase();
}

/** What is no refusal of ours is told with its causes, but without a stack. */
function unexpected(error: unknown): string {
  const messages: string[] = [];
  for (let current = error; current instanceof Error; current = current.cause) messages.push(current.message);
  return messages.join(': ') || String(error);
}
