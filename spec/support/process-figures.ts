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

/** What a process has come to need more, from the first third of its rounds to the last, by their medians. */
export function growth(figures: readonly ProcessFigures[]): ProcessFigures {
  const third = Math.ceil(figures.length / 3);
  const difference = (figure: keyof ProcessFigures) =>
    median(figures.slice(-third).map((of) => of[figure])) - median(figures.slice(0, third).map((of) => of[figure]));
  return { residentMb: difference('residentMb'), openFiles: difference('openFiles') };
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)]!;
}
