import { readdir, readFile } from 'node:fs/promises';
import type { ProcessIdentity } from '../../process/identity.js';

/** Environment variable that every process of a container carries; its value is the container's directory. */
export const containerVariable = 'ISTHMUS_CONTAINER';

/** A process of this machine, from `/proc/<pid>/stat`. */
export interface ProcessEntry extends ProcessIdentity {
  parentPid: number;
  sessionId: number;
  rssBytes: number;
  /** Its own, and that of the children it has waited for. */
  cpuNs: number;
  threads: number;
}

const pageBytes = 4096;
/** The kernel gives times in 1/100 s on every architecture that Node runs on. */
const nsPerTick = 10_000_000;

/**
 * All live processes of containers, by the container's directory: those that carry the marker, those in their
 * sessions, and their descendants, whatever these did to their environment.
 */
export async function processesByContainer(): Promise<Map<string, ProcessEntry[]>> {
  const names = await readdir('/proc');
  const pids = names.filter((name) => /^\d+$/.test(name)).map(Number);
  const entries = new Map<number, ProcessEntry>();
  const owners = new Map<number, string>();
  await Promise.all(
    pids.map(async (pid) => {
      const [entry, owner] = await Promise.all([readProcess(pid), markerOf(pid)]);
      if (!entry) return;
      entries.set(pid, entry);
      if (owner !== undefined) owners.set(pid, owner);
    }),
  );
  claimRelatives(entries, owners);
  const byContainer = new Map<string, ProcessEntry[]>();
  for (const [pid, owner] of owners) {
    const members = byContainer.get(owner) ?? [];
    members.push(entries.get(pid)!);
    byContainer.set(owner, members);
  }
  return byContainer;
}

/** Adds to `owners` what descends from an owned process or sits in an owned session, until nothing is added. */
function claimRelatives(entries: Map<number, ProcessEntry>, owners: Map<number, string>): void {
  for (let isGrowing = true; isGrowing; ) {
    isGrowing = false;
    const sessions = ownedSessions(entries, owners);
    for (const { pid, parentPid, sessionId } of entries.values()) {
      const owner = owners.get(parentPid) ?? sessions.get(sessionId);
      if (owner === undefined || owners.has(pid)) continue;
      owners.set(pid, owner);
      isGrowing = true;
    }
  }
}

/** A session belongs to a container when its leader does, or when the leader is gone and a member does. */
function ownedSessions(entries: Map<number, ProcessEntry>, owners: Map<number, string>): Map<number, string> {
  const sessions = new Map<number, string>();
  for (const [pid, owner] of owners) {
    const { sessionId } = entries.get(pid)!;
    const isLeaderForeign = entries.has(sessionId) && !owners.has(sessionId);
    if (!isLeaderForeign) sessions.set(sessionId, owners.get(sessionId) ?? owner);
  }
  return sessions;
}

async function readProcess(pid: number): Promise<ProcessEntry | undefined> {
  let text: string;
  try {
    text = await readFile(`/proc/${pid}/stat`, 'latin1');
  } catch {
    return undefined;
  }
  return parseStat(text);
}

/** Decodes a line of `/proc/<pid>/stat` (proc(5)); undefined for a process that has ended. */
export function parseStat(text: string): ProcessEntry | undefined {
  // The second field is the command in parentheses and may hold anything, parentheses and blanks included.
  const [state, ...numbers] = text.slice(text.lastIndexOf(')') + 2).split(' ');
  if (state === undefined || state === 'Z' || state === 'X') return undefined;
  /** By the number that the field has in proc(5). */
  const field = (number: number) => Number(numbers[number - 4]);
  return {
    pid: Number.parseInt(text, 10),
    parentPid: field(4),
    sessionId: field(6),
    startTime: field(22),
    rssBytes: field(24) * pageBytes,
    cpuNs: (field(14) + field(15) + field(16) + field(17)) * nsPerTick,
    threads: field(20),
  };
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

async function markerOf(pid: number): Promise<string | undefined> {
  try {
    const environment = await readFile(`/proc/${pid}/environ`, 'utf8');
    const prefix = `${containerVariable}=`;
    return environment
      .split('\0')
      .find((item) => item.startsWith(prefix))
      ?.slice(prefix.length);
  } catch {
    // Ended meanwhile, or another user's: then it is none of ours.
    return undefined;
  }
}
