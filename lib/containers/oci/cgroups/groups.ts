import { constants, readdirSync, readFileSync } from 'node:fs';
import { readdir, rmdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';

/*
 * Reads are synchronous: a control group's file comes out of the kernel's memory in microseconds, while a detour
 * through the thread pool costs ten times as much, and these are read for every container every second.
 */

const busyLimitMs = 2_000;
const busyRetryMs = 5;

export function readGroupFile(group: string, file: string): string {
  return readFileSync(`${group}/${file}`, 'utf8');
}

/** Writes a file that the kernel made: one that is missing is an error and not made. */
export async function writeGroupFile(group: string, file: string, value: string): Promise<void> {
  await writeFile(`${group}/${file}`, value, { flag: constants.O_WRONLY | constants.O_TRUNC });
}

/** Like `readGroupFile`; `fallback` when the group or the file does not exist. */
export function readGroupFileOr(group: string, file: string, fallback: string): string {
  return unlessGone(() => readGroupFile(group, file), fallback);
}

/** Runs a read; `fallback` when what it looks at is not there, or vanishes under its eyes. */
export function unlessGone<Value>(read: () => Value, fallback: Value): Value {
  try {
    return read();
  } catch (error) {
    if (isGone(error)) return fallback;
    throw error;
  }
}

/** ENODEV is the answer of a group that is removed while its file is open. */
export function isGone(error: unknown): boolean {
  return error instanceof Error && 'code' in error && (error.code === 'ENOENT' || error.code === 'ENODEV');
}

/** Paths of the groups right below one; empty when it does not exist. */
export function childGroups(group: string): string[] {
  const entries = unlessGone(() => readdirSync(group, { withFileTypes: true }), []);
  return entries.filter((entry) => entry.isDirectory()).map((entry) => join(group, entry.name));
}

/** Process ids in a group and all groups below it. */
export function processesIn(group: string): number[] {
  const own = readGroupFileOr(group, 'cgroup.procs', '')
    .split('\n')
    .map(Number)
    // 0 stands for a process of another pid namespace.
    .filter((pid) => pid > 0);
  return [...own, ...childGroups(group).flatMap(processesIn)];
}

/**
 * Removes a group and those below it. The last process of a group may still be on its way out of the kernel: busy
 * groups are tried again for two seconds.
 */
export async function removeGroup(group: string): Promise<void> {
  const giveUpAt = Date.now() + busyLimitMs;
  for (;;) {
    try {
      await removeGroupOnce(group);
      return;
    } catch (error) {
      if (isGone(error)) return;
      const isBusy = error instanceof Error && 'code' in error && error.code === 'EBUSY';
      if (!isBusy || Date.now() > giveUpAt) throw error;
      await delay(busyRetryMs);
    }
  }
}

async function removeGroupOnce(group: string): Promise<void> {
  for (const child of childGroups(group)) await removeGroup(child);
  await rmdir(group);
}

/** Names of groups right below one; empty when it does not exist. */
export async function groupNames(group: string): Promise<string[]> {
  try {
    const entries = await readdir(group, { withFileTypes: true });
    return entries.filter((entry) => entry.isDirectory()).map((entry) => entry.name);
  } catch (error) {
    if (isGone(error)) return [];
    throw error;
  }
}
