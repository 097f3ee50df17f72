import { type ProcessSpec, type RlimitSpec, rlimitNames } from '../../engine.js';
import { ExecutableNotFoundError, InvalidSpecError } from '../../errors.js';
import { isReservedGroupName } from '../cgroups/reserved-names.js';
import type { Confinement } from '../runtime/bundle.js';
import { capabilitiesFor } from '../runtime/capabilities.js';
import type { OciProcess } from '../runtime/process.js';
import type { Account } from '../users/accounts.js';

const pathOfRoot = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';
const pathOfOthers = '/usr/local/bin:/usr/bin:/bin';
const defaultTty = { columns: 80, rows: 24 };

const idPattern = /^[A-Za-z0-9_+.-]{1,128}$/;

/**
 * Checks what can be told from a process description alone.
 *
 * @throws InvalidSpecError naming the field, ExecutableNotFoundError when no executable is named
 */
export function checkProcessSpec(spec: ProcessSpec): void {
  const { id, dir } = spec;
  if (id !== undefined && (!idPattern.test(id) || id === '.' || id === '..')) {
    throw new InvalidSpecError(`id: ${JSON.stringify(id)} must match [A-Za-z0-9_+.-]{1,128}`);
  }
  // Only one with an image of its own has a group of its own.
  if (id !== undefined && spec.image !== undefined && isReservedGroupName(id)) {
    throw new InvalidSpecError(`id: ${JSON.stringify(id)} is a name of the kernel's control groups`);
  }
  if (dir !== undefined && dir !== '' && !dir.startsWith('/')) {
    throw new InvalidSpecError(`dir: Cwd must be an absolute path, not ${JSON.stringify(dir)}`);
  }
  if (spec.path === '') throw new ExecutableNotFoundError('exec: "": executable file not found in $PATH');
  if (spec.image === undefined && spec.bindMounts?.length) {
    throw new InvalidSpecError('Running a process with bind mounts and no image provided is not allowed');
  }
  checkEnvironment(spec.env ?? []);
  for (const text of [spec.path, dir ?? '', ...(spec.args ?? [])]) {
    if (text.includes('\0')) throw new InvalidSpecError('path, dir, args: must not contain NUL');
  }
  for (const [name, value] of Object.entries(spec.rlimits ?? {})) {
    if (!isRlimitName(name)) throw new InvalidSpecError(`rlimits.${name}: there is no such limit`);
    if (!Number.isSafeInteger(value) || value < 0) throw new InvalidSpecError(`rlimits.${name}: ${value}`);
  }
}

function isRlimitName(name: string): boolean {
  return (rlimitNames as string[]).includes(name);
}

/** @throws InvalidSpecError for an entry without `=`, or with a NUL */
export function checkEnvironment(env: string[]): void {
  const wrong = env.findIndex((entry) => entry.indexOf('=') < 1 || entry.includes('\0'));
  if (wrong >= 0) throw new InvalidSpecError(`env[${wrong}]: must be NAME=value`);
}

/**
 * `process.json` for one process (docs/protocol/containers.md §3.3).
 *
 * @param directory where the process starts, already resolved from `spec.dir` and the user's home
 */
export function describeProcess(
  spec: ProcessSpec,
  account: Account,
  directory: string,
  container: { env: string[]; confinement: Omit<Confinement, 'seccomp'> },
): OciProcess {
  const { tty } = spec;
  const { isPrivileged, noNewPrivileges, capabilities: available } = container.confinement;
  const { uid, gid, additionalGids } = account;
  return {
    terminal: tty !== undefined,
    ...(tty && { consoleSize: { height: tty.rows ?? defaultTty.rows, width: tty.columns ?? defaultTty.columns } }),
    user: { uid, gid, ...(additionalGids.length > 0 && { additionalGids }) },
    args: [spec.path, ...(spec.args ?? [])],
    env: environment(spec, account, container.env),
    cwd: directory,
    capabilities: capabilitiesFor({ uid, isPrivileged, available }),
    ...(spec.rlimits && { rlimits: resourceLimits(spec.rlimits) }),
    noNewPrivileges: noNewPrivileges && !isPrivileged,
  };
}

/** Of entries for one name only the last stays, in its place; what is missing is added at the end. */
function environment(spec: ProcessSpec, account: Account, containerEnv: string[]): string[] {
  const given = [...containerEnv, ...(spec.env ?? [])];
  const lastIndex = new Map(given.map((entry, index) => [nameOf(entry), index]));
  const entries = given.filter((entry, index) => lastIndex.get(nameOf(entry)) === index);
  const additions: [string, string][] = [
    ['PATH', account.uid === 0 ? pathOfRoot : pathOfOthers],
    ['USER', spec.user || 'root'],
    ['HOME', account.home],
  ];
  for (const [name, value] of additions) {
    if (!lastIndex.has(name)) entries.push(`${name}=${value}`);
  }
  return entries;
}

function nameOf(entry: string): string {
  return entry.slice(0, entry.indexOf('='));
}

function resourceLimits(rlimits: RlimitSpec): { type: string; soft: number; hard: number }[] {
  return Object.entries(rlimits).map(([name, value]) => ({
    type: `RLIMIT_${name.toUpperCase()}`,
    soft: value,
    hard: value,
  }));
}
