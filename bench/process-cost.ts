import { readFile } from 'node:fs/promises';

const ticksPerSecond = 100;

/** What a process has used of the processors so far, and holds in memory now. */
export async function processCost(pid: number): Promise<{ cpuSeconds: number; residentBytes: number }> {
  const [stat, status] = await Promise.all(['stat', 'status'].map((name) => readFile(`/proc/${pid}/${name}`, 'utf8')));
  const fields = stat!.slice(stat!.lastIndexOf(')') + 2).split(' ');
  return {
    cpuSeconds: (Number(fields[11]) + Number(fields[12])) / ticksPerSecond,
    residentBytes: Number(/VmRSS:\s+(\d+) kB/.exec(status!)![1]) * 1024,
  };
}
