import { setTimeout as delay } from 'node:timers/promises';
import { processesIn } from './groups.js';

/** Stops a group's processes where they are, so that none forks or ends; both reject when the kernel cannot. */
export interface Freezer {
  freeze(): Promise<void>;
  thaw(): Promise<void>;
}

const mostRounds = 20;
const roundPauseMs = 2;

/**
 * Signals every process of a group but `except`. Frozen processes cannot escape by forking, and a signal meets them
 * before they run on. Where freezing fails the group is gone through until no new process shows up.
 */
export async function signalGroup(
  group: string,
  signal: NodeJS.Signals,
  except: number[],
  freezer: Freezer,
): Promise<void> {
  const signalled = new Set(except);
  const signalNew = () => {
    const found = processesIn(group).filter((pid) => !signalled.has(pid));
    for (const pid of found) {
      signalled.add(pid);
      sendSignal(pid, signal);
    }
    return found.length > 0;
  };
  const isFrozen = await freezer.freeze().then(
    () => true,
    () => false,
  );
  try {
    if (isFrozen) signalNew();
    else for (let round = 0; round < mostRounds && signalNew(); round += 1) await delay(roundPauseMs);
  } finally {
    await freezer.thaw();
  }
}

function sendSignal(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal);
  } catch (error) {
    const isGone = error instanceof Error && 'code' in error && error.code === 'ESRCH';
    if (!isGone) throw error;
  }
}
