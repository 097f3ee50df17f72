import type { Limits, ProcessSpec, RlimitSpec } from '../engine.js';
import { InvalidSpecError } from '../errors.js';
import { containerVariable } from './process-table.js';

const ownHomes = new Set(['', '0', 'root']);
const appUserId = '2000';

/** Path in the container of a user's home. Any user is accepted; root and bare numbers live at the top. */
export function homeOf(user: string | undefined): string {
  const name = (user ?? '').split(':')[0]!;
  if (name === appUserId) return '/home/vcap';
  if (ownHomes.has(name) || !/^[A-Za-z_][A-Za-z0-9_.-]*$/.test(name)) return '/';
  return `/home/${name}`;
}

export interface EnvironmentOptions {
  containerEnv: string[];
  processEnv: string[];
  user: string | undefined;
  /** Host path of the user's home. */
  home: string;
  /** Directory of the container on the host. */
  containerPath: string;
  handle: string;
  /** The engine's own, for want of an image that has programs. */
  searchPath: string;
}

/**
 * The environment of a process: the container's, then its own (of duplicates the last stays), then what is missing of
 * PATH, HOME, USER and TMPDIR, then the marker that processes of a container are found by.
 * @throws InvalidSpecError for an entry without `=`
 */
export function processEnvironment(options: EnvironmentOptions): Record<string, string> {
  const environment: Record<string, string> = {};
  for (const item of [...options.containerEnv, ...options.processEnv]) {
    const [name, value] = splitAssignment(item);
    environment[name] = value;
  }
  environment.PATH ??= options.searchPath;
  environment.HOME ??= options.home;
  environment.USER ??= options.user?.split(':')[0] || 'root';
  environment.TMPDIR ??= `${options.containerPath}/rootfs/tmp`;
  environment.ISTHMUS_HANDLE = options.handle;
  environment[containerVariable] = options.containerPath;
  return environment;
}

/** @throws InvalidSpecError for an entry without `=` */
export function splitAssignment(item: string): [string, string] {
  const position = item.indexOf('=');
  if (position < 1) throw new InvalidSpecError(`env: "${item.slice(0, 40)}" is not of the form NAME=value`);
  return [item.slice(0, position), item.slice(position + 1)];
}

/**
 * Arguments of prlimit(1). `nproc` is left out: the kernel counts it per user, and here all containers and the engine
 * share one. `ceilings` are limits that the engine cannot raise; undefined entries are free.
 */
export function rlimitArguments(rlimits: RlimitSpec, ceilings: RlimitSpec): string[] {
  const names = ['nofile', 'core', 'data', 'fsize', 'stack', 'cpu', 'as'] as const;
  return names.flatMap((name) => {
    const wanted = rlimits[name];
    return wanted === undefined ? [] : [`--${name}=${Math.min(wanted, ceilings[name] ?? wanted)}`];
  });
}

/** The hard limits of `/proc/self/limits`; unlimited ones are absent. */
export function parseCeilings(text: string): RlimitSpec {
  const titles: Record<string, keyof RlimitSpec> = {
    'Max open files': 'nofile',
    'Max core file size': 'core',
    'Max data size': 'data',
    'Max file size': 'fsize',
    'Max stack size': 'stack',
    'Max cpu time': 'cpu',
    'Max address space': 'as',
  };
  const ceilings: RlimitSpec = {};
  for (const line of text.split('\n')) {
    const [title = '', , hard = ''] = line.split(/ {2,}/);
    const name = titles[title];
    if (name !== undefined && /^\d+$/.test(hard)) ceilings[name] = Number(hard);
  }
  return ceilings;
}

/** @throws InvalidSpecError when the id cannot be a file name */
export function checkProcessId(id: string): string {
  if (!/^[A-Za-z0-9_+.-]{1,200}$/.test(id) || id === '.' || id === '..') {
    throw new InvalidSpecError(`id: "${id.slice(0, 40)}" may have letters, digits and _+.- only`);
  }
  return id;
}

/** @throws InvalidSpecError for a description that no process can be started from */
export function checkProcessSpec(spec: ProcessSpec): void {
  if (spec.path === '') throw new InvalidSpecError('path: must not be empty');
  if (spec.dir !== undefined && !spec.dir.startsWith('/')) {
    throw new InvalidSpecError(`dir: "${spec.dir}" is not absolute`);
  }
}

/** @throws InvalidSpecError for a number that is no limit */
export function checkLimits({ memoryBytes, cpuShares, maxPids, disk, bandwidth }: Limits): void {
  const numbers = { memoryBytes, cpuShares, maxPids, bytes: disk?.bytes, inodes: disk?.inodes, ...bandwidth };
  for (const [name, value] of Object.entries(numbers)) {
    if (value !== undefined && !(Number.isSafeInteger(value) && value >= 0)) {
      throw new InvalidSpecError(`limits: ${name} ${value} is no whole number of 0 or more`);
    }
  }
}
