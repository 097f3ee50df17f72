import { readFile } from 'node:fs/promises';
import { type ProcessEntry, processesByMark } from '../../process/marked-processes.js';

/** Environment variable that every process of a container carries; its value is the container's directory. */
export const containerVariable = 'ISTHMUS_CONTAINER';

/** All live processes of containers, by the container's directory. */
export function processesByContainer(): Map<string, ProcessEntry[]> {
  return processesByMark(containerVariable);
}

/**
 * Memory of a process with what it shares counted by its share, so that the sum over forked workers is right.
 * Undefined when the kernel does not tell.
 */
export async function proportionalBytes(pid: number): Promise<number | undefined> {
  try {
    const text = await readFile(`/proc/${pid}/smaps_rollup`, 'latin1');
    const kibibytes = /^Pss:\s+(\d+) kB$/m.exec(text)?.[1];
    return kibibytes === undefined ? undefined : Number(kibibytes) * 1024;
  } catch {
    return undefined;
  }
}
