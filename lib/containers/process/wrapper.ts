import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { open, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { ProcessIdentity } from '../../process/identity.js';

/** How a process ended. */
export interface ProcessExit {
  /** Exit status, or 128 + signal. */
  status: number;
  /** CPU time of the process and of the children that it waited for. */
  cpuNs: number;
}

/** Files in the directory of a process. */
export const files = {
  /** `<pid> <start time>` of the process and of the wrapper, each written by itself. */
  process: 'pid',
  wrapper: 'wrapper',
  exit: 'exit',
  stdin: 'stdin',
  stdout: 'stdout',
  stderr: 'stderr',
} as const;

const announce = `announce() {
  IFS=' ' read -r pid _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ start _ </proc/$$/stat
  printf '%s %s\\n' "$pid" "$start" >"$1"
}
`;

/**
 * Arguments: directory, standard input, command. Stays until the command has ended, to write down how; it catches
 * what signals can be caught, and its own words ("Killed") do not get into the command's error output.
 * Descriptor 3 tells the engine that the command is about to be executed.
 */
const outerScript = `${announce}directory=$1 input=$2
shift 2
announce "$directory/${files.wrapper}"
trap : HUP INT QUIT TERM PIPE ALRM USR1 USR2
exec 4>&2 2>/dev/null
(exec "$@" <"$input" 2>&4 4>&-)
status=$?
{ printf '%s\\n' "$status"; times; } >"$directory/${files.exit}"
`;

/** Arguments: directory, command. Becomes the command, which inherits no descriptor but 0, 1 and 2. */
const innerScript = `${announce}directory=$1
shift
announce "$directory/${files.process}"
printf 'started\\n' >&3
exec "$@" 3>&-
`;

/** Absolute paths of programs that the wrapper needs; the command's own PATH may not have them. */
export interface WrapperTools {
  setsid: string;
  prlimit: string;
  /** For processes with a terminal. */
  script: string;
  stty: string;
}

export interface WrapperOptions {
  tools: WrapperTools;
  /** Directory of the process; its `stdin` exists when `hasInput`. */
  directory: string;
  hasInput: boolean;
  /** Throw the output away. */
  discardOutput: boolean;
  /** Program and arguments, with prlimit(1) and the like in front. */
  command: string[];
  cwd: string;
  environment: Record<string, string>;
  tty: { columns: number; rows: number } | undefined;
}

/**
 * Starts a command under a wrapper of a few lines of shell, both in sessions of their own, with output into files: so
 * output and exit status survive the engine. Resolves when the command is about to be executed.
 */
export async function startWrapped(options: WrapperOptions): Promise<ChildProcess> {
  const { directory, discardOutput } = options;
  const [stdout, stderr] = await Promise.all([
    open(discardOutput ? '/dev/null' : join(directory, files.stdout), 'a', 0o600),
    open(discardOutput ? '/dev/null' : join(directory, files.stderr), 'a', 0o600),
  ]);
  try {
    const child = spawn('/bin/sh', ['-c', outerScript, 'isthmus', ...outerArguments(options)], {
      cwd: options.cwd,
      env: options.environment,
      detached: true,
      stdio: ['ignore', stdout.fd, stderr.fd, 'pipe'],
    });
    const notice = child.stdio[3]!;
    try {
      await Promise.race([once(notice, 'data'), once(child, 'exit')]);
    } finally {
      notice.destroy();
    }
    // A short command may have ended before its notice was read.
    if (!(await readIdentity(directory, files.process))) throw new Error('the process could not be started');
    child.unref();
    return child;
  } finally {
    await Promise.all([stdout.close(), stderr.close()]);
  }
}

function outerArguments({ directory, hasInput, command, tty, tools }: WrapperOptions): string[] {
  const input = hasInput ? join(directory, files.stdin) : '/dev/null';
  const inner = ['/bin/sh', '-c', innerScript, 'isthmus', directory];
  // A session of its own for the command: signals that it sends to its process group do not reach the wrapper.
  if (!tty) return [directory, input, ...inner, tools.setsid, ...command];
  const commandLine = [...inner, ...command].map(shellQuote).join(' ');
  const sized = `${tools.stty} rows ${tty.rows} cols ${tty.columns}; exec ${commandLine}`;
  return [directory, input, tools.script, '-q', '-e', '-f', '-c', sized, '/dev/null'];
}

function shellQuote(word: string): string {
  return `'${word.replaceAll("'", "'\\''")}'`;
}

/** Reads one of the files with a pid; undefined when it is not (completely) written. */
export async function readIdentity(directory: string, file: 'pid' | 'wrapper'): Promise<ProcessIdentity | undefined> {
  const match = /^(\d+) (\d+)\n$/.exec(await readOrEmpty(join(directory, file)));
  return match ? { pid: Number(match[1]), startTime: Number(match[2]) } : undefined;
}

/** How the process ended; undefined as long as that is not written down. */
export async function readExit(directory: string): Promise<ProcessExit | undefined> {
  // The status, the times of the wrapper itself, and those of its children; complete with the last line's end.
  const match = /^(\d+)\n.*\n(.*)\n$/.exec(await readOrEmpty(join(directory, files.exit)));
  return match ? { status: Number(match[1]), cpuNs: parseTimes(match[2]!) } : undefined;
}

/** Decodes `0m1.500000s 0m0.250000s`, user and system time as the shell's `times` gives them, into nanoseconds. */
export function parseTimes(line: string): number {
  return [...line.matchAll(/(\d+)m([\d.]+)s/g)].reduce(
    (sum, [, minutes, seconds]) => sum + Math.round((Number(minutes) * 60 + Number(seconds)) * 1e9),
    0,
  );
}

async function readOrEmpty(path: string): Promise<string> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return '';
    throw error;
  }
}
