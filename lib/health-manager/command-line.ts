import { type ModuleName, moduleNames } from './health-manager.js';
import { type OneShotName, oneShotNames } from './one-shot.js';

/** What the program is asked to do. */
export type Command =
  | { kind: 'dump'; configPath: string; isRaw: boolean }
  | { kind: 'once'; name: OneShotName; configPath: string }
  /** `args`: what is left for a program with a configuration file. */
  | { kind: 'run'; modules: readonly ModuleName[]; args: string[] };

/** The command line makes no sense; the text says why. */
export class UsageError extends Error {
  constructor(
    message: string,
    readonly isConfigMissing = false,
  ) {
    super(message);
  }
}

/**
 * Upstream's sub-commands that go on until they are ended, some only with `--poll`, and the modules that do their work
 * here (docs/protocol/health-manager.md §11).
 */
const modulesOfCommands: Record<string, readonly ModuleName[]> = {
  listen: ['listener'],
  fetch_desired: ['fetcher'],
  analyze: ['fetcher', 'analyzer'],
  evacuator: ['evacuator'],
  serve_api: ['api'],
  serve_metrics: ['metrics'],
  shred: ['shredder'],
  all: moduleNames,
};

const knownFlags = ['--poll', '--raw'];
/** Upstream's, for Go's debug server: scripts that give it go on working, and there is none. */
const ignoredFlag = '--debugAddr';

/**
 * Understands `hm9000 CONFIG [--only a,b]` and upstream's `hm9000 COMMAND --config=FILE [--poll]`.
 * @throws UsageError
 */
export function parseCommandLine(args: string[]): Command {
  const [first = '', ...rest] = args;
  const isCommand = Object.hasOwn(modulesOfCommands, first) || first === 'dump' || first === 'send';
  return isCommand ? parseCommand(first, rest) : parseProgram(args);
}

function parseCommand(command: string, args: string[]): Command {
  const { configPath, flags } = readFlags(args);
  if (command === 'dump') return { kind: 'dump', configPath, isRaw: flags.has('--raw') };
  const isPolling = flags.has('--poll');
  const once = oneShotNames.find((name) => name === command);
  if (once && !isPolling) return { kind: 'once', name: once, configPath };
  const modules = modulesOfCommands[command];
  if (!modules) throw new UsageError(`Incorrect Usage: ${command} --poll; analyze --poll sends what it finds`);
  return { kind: 'run', modules, args: [configPath] };
}

function parseProgram(args: string[]): Command {
  const [first = ''] = args;
  const isForCommand = args.some((arg) => arg === '--config' || arg.startsWith('--config='));
  if (isForCommand)
    throw new UsageError(first.startsWith('-') ? `Incorrect Usage: ${first}` : `No help topic for '${first}'`);
  const only = args.findIndex((arg) => arg === '--only' || arg.startsWith('--only='));
  if (only === -1) return { kind: 'run', modules: moduleNames, args };
  const isSeparate = args[only] === '--only';
  const list = isSeparate ? args[only + 1] : args[only]!.slice('--only='.length);
  const others = args.filter((_arg, position) => position !== only && !(isSeparate && position === only + 1));
  return { kind: 'run', modules: readModules(list ?? ''), args: others };
}

/** @throws UsageError */
function readFlags(args: string[]): { configPath: string; flags: ReadonlySet<string> } {
  const flags = new Set<string>();
  let configPath: string | undefined;
  for (const [position, arg] of args.entries()) {
    if (arg.startsWith('--config=')) configPath = arg.slice('--config='.length);
    else if (arg === '--config') configPath = args[position + 1];
    else if (knownFlags.includes(arg)) flags.add(arg);
    else if (arg === ignoredFlag || arg.startsWith(`${ignoredFlag}=`)) continue;
    else if (!['--config', ignoredFlag].includes(args[position - 1] ?? '')) {
      throw new UsageError(`Incorrect Usage: ${arg}`);
    }
  }
  if (!configPath) throw new UsageError('Config path required', true);
  return { configPath, flags };
}

function readModules(list: string): ModuleName[] {
  const names = list.split(',').filter((name) => name !== '');
  if (names.length === 0) throw new UsageError(`--only: name one or more of ${moduleNames.join(', ')}`);
  return names.map((name) => {
    const known = moduleNames.find((module) => module === name);
    if (!known) throw new UsageError(`--only: ${name} is none of ${moduleNames.join(', ')}`);
    return known;
  });
}
