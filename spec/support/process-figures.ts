import { readdirSync, readFileSync } from 'node:fs';

export interface ProcessFigures {
  residentMb: number;
  openFiles: number;
}

/** Memory and open files of a process. @throws when it is gone */
export function processFigures(pid: number): ProcessFigures {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8');
  const resident = /^VmRSS:\s+(\d+) kB$/m.exec(status)?.[1];
  return { residentMb: Math.round(Number(resident) / 1024), openFiles: readdirSync(`/proc/${pid}/fd`).length };
}
