import { readlinkSync } from 'node:fs';
import { CommandError } from '../../../process/command.js';
import {
  commandLineOf,
  identifyProcess,
  isRunning,
  type ProcessIdentity,
  signalProcess,
} from '../../../process/identity.js';
import { LaunchMark } from '../../../process/launch-mark.js';
import type { Launcher } from '../../../process/launcher.js';
import { waitUntil } from '../../../process/wait.js';
import { ExecutableNotFoundError } from '../../errors.js';
import type { RuntimeCommand } from '../runtime/runtime-command.js';
import type { ProcessDirectory, ProcessTraits } from './process-directory.js';

export interface ConmonRequest {
  launcher: Launcher;
  /** Absolute path of conmon. */
  program: string;
  runtime: RuntimeCommand;
  containerId: string;
  processId: string;
  directory: ProcessDirectory;
  traits: ProcessTraits;
  /** The log is replaced by a new one at this size. */
  maximumLogBytes: number;
  /** The process must be up within this time. */
  startTimeoutMs: number;
}

/** The runtime could not start a process; the text is the runtime's own. */
export class ProcessStartError extends Error {}

/**
 * Starts a process of a container below a conmon of its own, which keeps its output and exit status while nobody else
 * does (docs/protocol/containers.md §4.5).
 *
 * @returns the process's number on the host, once it was executed
 * @throws ProcessStartError
 */
export async function startUnderConmon(request: ConmonRequest): Promise<number> {
  // fd 3 is where conmon tells the result. Its standard streams become those of the runtime, so they lead nowhere.
  try {
    const { answer, hasTimedOut } = await request.launcher.launch({
      program: request.program,
      args: conmonArguments(request),
      cwd: request.directory.path,
      env: { PATH: process.env.PATH ?? '', _OCI_SYNCPIPE: '3' },
      answersOnFd3: true,
      capturesStderr: false,
      timeoutMs: request.startTimeoutMs,
    });
    if (!hasTimedOut) return parseAnswer(answer);
    throw new ProcessStartError(`the process was not started within ${request.startTimeoutMs / 1000} s`);
  } catch (cause) {
    if (cause instanceof CommandError) throw new ProcessStartError(`cannot start ${request.program}`, { cause });
    throw cause;
  }
}

function conmonArguments({ runtime, directory, traits, ...request }: ConmonRequest): string[] {
  return [
    ...['--api-version', '1', '--exec', '--full-attach', '--no-sync-log'],
    ...['--cid', request.containerId, '--cuuid', request.processId, '--name', request.containerId],
    ...['--runtime', runtime.program, ...runtime.globalArguments.flatMap((value) => ['--runtime-arg', value])],
    ...['--bundle', directory.path, '--exec-process-spec', directory.processFile],
    ...['--container-pidfile', directory.pidFile, '--conmon-pidfile', directory.conmonPidFile],
    ...['--exit-dir', directory.exitDirectory],
    ...['--log-path', traits.keepsOutput ? `k8s-file:${directory.logFile}` : 'none'],
    ...(traits.keepsOutput ? ['--log-size-max', String(request.maximumLogBytes)] : []),
    ...(traits.hasStdin ? ['--stdin'] : []),
    ...(traits.hasTty ? ['--terminal'] : []),
  ];
}

/** `{"data": <pid>}`, or `{"data": -1, "message": "..."}`. */
function parseAnswer(line: string): number {
  let answer: { data?: unknown; message?: unknown };
  try {
    answer = JSON.parse(line);
  } catch (cause) {
    throw new ProcessStartError(`conmon: ${line.trim() || 'ended without an answer'}`, { cause });
  }
  if (typeof answer.data === 'number' && answer.data > 0) return answer.data;
  throw new ProcessStartError(String(answer.message ?? line).trim());
}

const executableMissing = /executable file .*not found in \$PATH|stat \S+: no such file or directory/i;

/** Tells a missing executable from other reasons why a process could not be started. */
export function explainStartFailure(error: ProcessStartError, path: string): Error {
  // The runtimes take an empty name for the directory that they search.
  if (path !== '' && !executableMissing.test(error.message)) return error;
  const reason = path.includes('/') ? `stat ${path}: no such file or directory` : 'executable file not found in $PATH';
  return new ExecutableNotFoundError(`exec: "${path}": ${reason}`, { cause: error });
}

/** The living conmon of a process directory; undefined when it is gone or its number now means another process. */
export async function findConmon(directory: ProcessDirectory): Promise<ProcessIdentity | undefined> {
  const pid = await directory.readConmonPid();
  if (pid === undefined || !commandLineOf(pid).includes(directory.processFile)) return undefined;
  return identifyProcess(pid);
}

/**
 * Kills a process that the runtime has started although it reported a failure: no conmon keeps its output and exit
 * status. It has just begun, so that its number cannot mean another one yet.
 */
export async function endUnreported(directory: ProcessDirectory): Promise<void> {
  const pid = await directory.readPid();
  const started = pid === undefined ? undefined : identifyProcess(pid);
  if (started && isOfContainer(started.pid)) signalProcess(started, 'SIGKILL');
}

/** Whether a process has another number inside of a container than on the host. */
function isOfContainer(pid: number): boolean {
  try {
    return readlinkSync(`/proc/${pid}/ns/pid`) !== readlinkSync('/proc/self/ns/pid');
  } catch {
    return false;
  }
}

const conmonPatienceMs = 2_000;

/**
 * Waits for the conmon of a process that is dead, or was not started; kills one that does not end, and with it a
 * runtime that hangs.
 */
export async function endConmon(directory: ProcessDirectory): Promise<void> {
  const conmon = await findConmon(directory);
  if (conmon === undefined) return;
  const hasEnded = await waitUntil(() => !isRunning(conmon), { timeoutMs: conmonPatienceMs });
  if (!hasEnded) await LaunchMark.endLaunch(conmon);
}
