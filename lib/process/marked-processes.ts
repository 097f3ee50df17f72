import { readdirSync, readFileSync } from 'node:fs';
import { type ProcessIdentity, signalProcess } from './identity.js';
import { waitUntil } from './wait.js';

/** A process of this machine, from `/proc/<pid>/stat`. */
export interface ProcessEntry extends ProcessIdentity {
  parentPid: number;
  sessionId: number;
  rssBytes: number;
  /** Its own, and that of the children it has waited for. */
  cpuNs: number;
  threads: number;
}

/** One that forks and ends may escape a look. */
const fewestQuietLooks = 2;
/** Whoever forks faster than he is halted is killed a part at a time, and others get their turn in between. */
const mostLooks = 20;
const pageBytes = 4096;
/** The kernel gives times in 1/100 s on every architecture that Node runs on. */
const nsPerTick = 10_000_000;

/**
 * All live processes that belong to a value of an environment variable, by that value: those that were started with
 * it, those in sessions of theirs, and their descendants, whatever these did to their environment. Reads two files for
 * each process of the machine, at one go: what forks and ends meanwhile could hide a process, and the youngest are read
 * first, because they do that most.
 */
export function processesByMark(variable: string): Map<string, ProcessEntry[]> {
  const names = readdirSync('/proc').filter((name) => /^\d+$/.test(name));
  const entries = new Map<number, ProcessEntry>();
  const owners = new Map<number, string>();
  for (const pid of names.map(Number).sort((one, other) => other - one)) {
    const entry = readProcess(pid);
    if (!entry) continue;
    entries.set(pid, entry);
    const owner = markOf(pid, variable);
    if (owner !== undefined) owners.set(pid, owner);
  }
  claimRelatives(entries, owners);
  const byMark = new Map<string, ProcessEntry[]>();
  for (const [pid, owner] of owners) {
    const members = byMark.get(owner) ?? [];
    members.push(entries.get(pid)!);
    byMark.set(owner, members);
  }
  return byMark;
}

/** The value of a variable in the environment that a process was started with; undefined when it is not ours to read. */
export function markOf(pid: number, variable: string): string | undefined {
  try {
    const environment = readFileSync(`/proc/${pid}/environ`, 'utf8');
    const prefix = `${variable}=`;
    return environment
      .split('\0')
      .find((item) => item.startsWith(prefix))
      ?.slice(prefix.length);
  } catch {
    // Ended meanwhile, or another user's: then it is none of ours.
    return undefined;
  }
}

/**
 * KILLs processes, and looks again until none is left. They are halted first, until no new one appears: what is halted
 * can neither fork away from the KILL nor end, which would hide its children.
 *
 * @param list those that are alive now
 * @returns whether none was left in time
 */
export async function killAll(list: () => ProcessEntry[], { timeoutMs }: { timeoutMs: number }): Promise<boolean> {
  const areGone = () => {
    const members = haltAll(list);
    for (const member of members) signalProcess(member, 'SIGKILL');
    return members.length === 0;
  };
  return waitUntil(areGone, { timeoutMs });
}

function haltAll(list: () => ProcessEntry[]): ProcessEntry[] {
  const halted = new Set<string>();
  let members: ProcessEntry[] = [];
  for (let looks = 0, quietLooks = 0; looks < mostLooks && quietLooks < fewestQuietLooks; looks += 1) {
    members = list();
    const fresh = members.filter((member) => !halted.has(identity(member)));
    quietLooks = fresh.length === 0 ? quietLooks + 1 : 0;
    for (const member of fresh) {
      halted.add(identity(member));
      signalProcess(member, 'SIGSTOP');
    }
  }
  return members;
}

function identity({ pid, startTime }: ProcessIdentity): string {
  return `${pid}@${startTime}`;
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

/**
 * A session belongs to a mark when its leader does, or when the leader is gone and a member does. But not the session of
 * this process, nor 0, which is each one that began outside of this process namespace: strangers sit in those, and our
 * own parents.
 */
function ownedSessions(entries: Map<number, ProcessEntry>, owners: Map<number, string>): Map<number, string> {
  const sessions = new Map<number, string>();
  const ownSession = entries.get(process.pid)?.sessionId;
  for (const [pid, owner] of owners) {
    const { sessionId } = entries.get(pid)!;
    if (sessionId === 0 || sessionId === ownSession) continue;
    const isLeaderForeign = entries.has(sessionId) && !owners.has(sessionId);
    if (!isLeaderForeign) sessions.set(sessionId, owners.get(sessionId) ?? owner);
  }
  return sessions;
}

function readProcess(pid: number): ProcessEntry | undefined {
  let text: string;
  try {
    text = readFileSync(`/proc/${pid}/stat`, 'latin1');
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
