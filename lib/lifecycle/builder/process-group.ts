import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { constants } from 'node:os';
import { setTimeout as delay } from 'node:timers/promises';

/** What all programs of a build are run with. */
export interface ExecutionContext {
  workingDirectory: string;
  environment: NodeJS.ProcessEnv;
  /** Ends the running program, and lets no other one start. */
  signal: AbortSignal;
  /** Time between TERM and KILL for a program that is ended. */
  killGraceMs: number;
}

/** Receivers of a program's output; output without one goes where the builder's own goes. */
export interface OutputReceivers {
  stdout?: (chunk: Buffer) => void;
  stderr?: (chunk: Buffer) => void;
}

/** A program cannot be started: it is missing, not executable or no program. */
export class ProgramStartError extends Error {
  constructor(program: string, cause: unknown) {
    super(`cannot run ${program}: ${cause instanceof Error ? cause.message : String(cause)}`, { cause });
  }
}

/** How long output may still come in once its program and all of its group are gone. */
const lastOutputMs = 1000;

/**
 * Runs a program to its end, in a process group of its own and without input. Whatever it leaves running in that
 * group ends with it: it would keep the staging log open for ever.
 *
 * @returns the exit status, or 128 + signal
 * @throws ProgramStartError
 * @throws the signal's reason when it was ended by it
 */
export async function runInProcessGroup(
  program: string,
  args: string[],
  context: ExecutionContext,
  receivers: OutputReceivers = {},
): Promise<number> {
  context.signal.throwIfAborted();
  const child = spawn(program, args, {
    cwd: context.workingDirectory,
    env: context.environment,
    detached: true,
    stdio: ['ignore', receivers.stdout ? 'pipe' : 'inherit', receivers.stderr ? 'pipe' : 'inherit'],
  });
  const ended = Promise.all([once(child, 'exit'), once(child, 'spawn')]);
  const closed = once(child, 'close');
  // The program's failure to start is told by `ended`.
  closed.catch(() => {});
  if (receivers.stdout) child.stdout?.on('data', receivers.stdout);
  if (receivers.stderr) child.stderr?.on('data', receivers.stderr);
  const stopEnding = endOnAbort(child, context);
  try {
    await ended;
  } catch (error) {
    throw new ProgramStartError(program, error);
  } finally {
    stopEnding();
  }
  signalGroup(child, 'SIGKILL');
  await Promise.race([closed, delay(lastOutputMs, undefined, { ref: false })]);
  child.stdout?.destroy();
  child.stderr?.destroy();
  context.signal.throwIfAborted();
  return child.exitCode ?? 128 + constants.signals[child.signalCode ?? 'SIGKILL'];
}

/** TERM to the whole group when the signal says so, KILL to those that stay; until the returned function is called. */
function endOnAbort(child: ChildProcess, { signal, killGraceMs }: ExecutionContext): () => void {
  let killTimer: NodeJS.Timeout | undefined;
  const end = () => {
    signalGroup(child, 'SIGTERM');
    killTimer = setTimeout(() => signalGroup(child, 'SIGKILL'), killGraceMs);
  };
  signal.addEventListener('abort', end, { once: true });
  return () => {
    signal.removeEventListener('abort', end);
    clearTimeout(killTimer);
  };
}

function signalGroup(child: ChildProcess, signal: NodeJS.Signals): void {
  if (child.pid === undefined) return;
  try {
    process.kill(-child.pid, signal);
  } catch (error) {
    // The group is gone.
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}
