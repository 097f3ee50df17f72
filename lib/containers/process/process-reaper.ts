import { setTimeout as delay } from 'node:timers/promises';
import { signalProcess } from '../../process/identity.js';
import { type ProcessEntry, processesByContainer } from './process-table.js';

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
    const members = await unsparedProcesses(options);
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
  for (;;) {
    const members = await freezeProcesses(options);
    if (members.length === 0) return;
    for (const member of members) signalProcess(member, 'SIGKILL');
    await delay(pollMs);
  }
}

/** Halts them until no new one appears: what is halted cannot fork away from the KILL that follows. */
async function freezeProcesses(options: Omit<EndOptions, 'graceTimeMs'>): Promise<ProcessEntry[]> {
  const frozen = new Set<string>();
  for (;;) {
    const members = await unsparedProcesses(options);
    const fresh = members.filter((member) => !frozen.has(identity(member)));
    if (fresh.length === 0) return members;
    for (const member of fresh) {
      frozen.add(identity(member));
      signalProcess(member, 'SIGSTOP');
    }
  }
}

async function unsparedProcesses({
  containerPath,
  isSpared,
}: Omit<EndOptions, 'graceTimeMs'>): Promise<ProcessEntry[]> {
  const members = (await processesByContainer()).get(containerPath) ?? [];
  return members.filter((member) => !isSpared(member));
}

function identity({ pid, startTime }: ProcessEntry): string {
  return `${pid}@${startTime}`;
}
