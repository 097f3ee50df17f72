import { waitUntil } from '../../../process/wait.js';
import type { Cgroups } from '../ports.js';

const deathPatienceMs = 10_000;

/** Kills whatever is in a group, until nothing is. @returns false when something does not die within ten seconds */
export async function endGroup(cgroups: Cgroups, handle: string): Promise<boolean> {
  const areGone = async () => {
    if ((await cgroups.processes(handle)).length === 0) return true;
    await cgroups.signalAll(handle, 'SIGKILL', []);
    return false;
  };
  return waitUntil(areGone, { timeoutMs: deathPatienceMs });
}
