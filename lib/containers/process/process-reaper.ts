import { setTimeout as delay } from 'node:timers/promises';
import { signalProcess } from '../../process/identity.js';
import { killAll, type ProcessEntry } from '../../process/marked-processes.js';
import { processesByContainer } from './process-table.js';

export interface EndOptions {
  /** Directory of the container. */
  containerPath: string;
  /** Whether a process must live because it keeps an exit status. */
  isSpared: (member: ProcessEntry) => boolean;
  /** Time between TERM and KILL; 0: KILL at once. */
  graceTimeMs: number;
}

const pollMs = 20;
const repeatTermMs = 1000;

/** Ends all processes of a container: TERM, each second again, then KILL. Resolves when none is left. */
export async function endProcesses(options: EndOptions): Promise<void> {
  const deadline = Date.now() + options.graceTimeMs;
  let nextTermAt = 0;
  while (Date.now() < deadline) {
    const members = unsparedProcesses(options);
    if (members.length === 0) return;
    if (Date.now() >= nextTermAt) {
      nextTermAt = Date.now() + repeatTermMs;
      for (const member of members) signalProcess(member, 'SIGTERM');
    }
    await delay(pollMs);
  }
  await killProcesses(options);
}

/** KILLs all processes of a container and resolves when none is left. */
export async function killProcesses(options: Omit<EndOptions, 'graceTimeMs'>): Promise<void> {
  await killAll(() => unsparedProcesses(options), { timeoutMs: Number.POSITIVE_INFINITY });
}

function unsparedProcesses({ containerPath, isSpared }: Omit<EndOptions, 'graceTimeMs'>): ProcessEntry[] {
  const members = processesByContainer().get(containerPath) ?? [];
  return members.filter((member) => !isSpared(member));
}
