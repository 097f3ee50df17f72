import { constants } from 'node:fs';
import { access } from 'node:fs/promises';
import { join } from 'node:path';
import { HostRequirementError } from '../errors.js';

/** Programs of the host that the engine cannot do without, and the Debian package that brings each. */
export const programPackages = {
  conmon: 'conmon',
  socat: 'socat',
  catatonit: 'catatonit',
  busybox: 'busybox-static',
  nsenter: 'util-linux',
  mount: 'mount',
  umount: 'mount',
  'mkfs.ext4': 'e2fsprogs',
  ip: 'iproute2',
  'iptables-restore': 'iptables',
  prlimit: 'util-linux',
} as const;

/** Absolute paths by name. */
export type HostTools = Record<keyof typeof programPackages, string>;

const systemDirectories = ['/usr/local/sbin', '/usr/local/bin', '/usr/sbin', '/usr/bin', '/sbin', '/bin'];

/**
 * Finds the engine's programs.
 *
 * @throws HostRequirementError naming all that are missing and the command that brings them
 */
export async function findHostTools(): Promise<HostTools> {
  const names = Object.keys(programPackages) as (keyof HostTools)[];
  const found = await Promise.all(names.map(async (name) => [name, await findProgram(name)] as const));
  const missing = found.filter(([, path]) => path === undefined).map(([name]) => name);
  if (missing.length > 0) throw missingPrograms(missing, [...new Set(missing.map((name) => programPackages[name]))]);
  return Object.fromEntries(found) as HostTools;
}

/** Looks for a program on the PATH and in the system's directories; undefined when there is none. */
export async function findProgram(name: string): Promise<string | undefined> {
  const directories = [...(process.env.PATH ?? '').split(':').filter((path) => path.startsWith('/'))];
  for (const directory of new Set([...directories, ...systemDirectories])) {
    const path = join(directory, name);
    try {
      await access(path, constants.X_OK);
      return path;
    } catch {}
  }
  return undefined;
}

/** The error for programs that are not there. */
export function missingPrograms(programs: string[], packages: string[]): HostRequirementError {
  return new HostRequirementError(
    `the container engine needs ${programs.join(', ')}: run apt-get install ${packages.join(' ')}`,
  );
}
