import { readFileSync } from 'node:fs';

/** A process told apart from a later one that got the same number. */
export interface ProcessIdentity {
  pid: number;
  /** Clock ticks between boot and the process's start (field 22 of `/proc/<pid>/stat`). */
  startTime: number;
}

interface ProcessStatus extends ProcessIdentity {
  parentPid: number;
  isZombie: boolean;
}

/** What the kernel says of a process; undefined when there is none of that number. Reads one file of `/proc`. */
export function readProcessStatus(pid: number): ProcessStatus | undefined {
  let text: string;
  try {
    text = readFileSync(`/proc/${pid}/stat`, 'latin1');
  } catch {
    return undefined;
  }
  // The command's name stands in parentheses and may itself hold spaces and parentheses.
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
  return {
    pid,
    startTime: Number(fields[19]),
    parentPid: Number(fields[1]),
    isZombie: fields[0] === 'Z' || fields[0] === 'X',
  };
}

/** The identity of a living process; undefined when it is gone or only waits for its parent. */
export function identifyProcess(pid: number): ProcessIdentity | undefined {
  const status = readProcessStatus(pid);
  if (status === undefined || status.isZombie) return undefined;
  return { pid, startTime: status.startTime };
}

/** Whether that very process still runs. A zombie does not. */
export function isRunning(identity: ProcessIdentity): boolean {
  return identifyProcess(identity.pid)?.startTime === identity.startTime;
}

/** Sends a signal to that very process; false when it is gone. */
export function signalProcess(identity: ProcessIdentity, signal: NodeJS.Signals): boolean {
  if (!isRunning(identity)) return false;
  try {
    return process.kill(identity.pid, signal);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ESRCH') return false;
    throw error;
  }
}

/** The arguments a process was started with; empty when it is gone. */
export function commandLineOf(pid: number): string[] {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0').slice(0, -1);
  } catch {
    return [];
  }
}
