import { mkdir, rm, symlink } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { ImageError } from '../../../errors.js';
import { runHostProgram } from '../../host-program.js';
import { mountOverlay, unmount } from '../../mounts.js';
import { type IdMap, idOutside, rootOutside } from '../../users/id-map.js';
import { capabilityOnDisk } from './file-capability.js';

/** Thousands of files are visited, on a disk that may be busy. */
const limitMs = 300_000;
const capability = 'security.capability';

/**
 * Gives the files of a directory to those of unprivileged containers who have the same ids within, without copying what
 * is in them: the layer that comes out holds owners, modes and attributes only, and shows the directory's own content when it is laid over it with
 * the overlay option `metacopy`. A file with several names becomes several files.
 *
 * @param layer empty directory of the new layer; a directory beside it is used meanwhile
 * @returns bytes of the whole as a container sees it
 * @throws ImageError when somebody owns a file whom containers do not have; CommandError where the kernel knows no such layers; HostRequirementError when a program is missing
 */
export async function reown(directory: string, layer: string, idMap: IdMap): Promise<number> {
  const scratch = join(dirname(layer), 'scratch');
  const merged = join(scratch, 'merged');
  await mkdir(scratch, { mode: 0o700 });
  await Promise.all([mkdir(merged), mkdir(join(scratch, 'work')), symlink(directory, join(scratch, 'lower'))]);
  // Names without the characters that mean something in mount options.
  await mountOverlay({
    directory: scratch,
    lower: ['lower'],
    upper: join('..', basename(layer)),
    work: 'work',
    target: merged,
    // All is synced at once, before the layer gets its name; else each file would be, one after the other.
    volatile: true,
    metacopy: true,
  });
  try {
    const [{ owners, modes, bytes }, capabilities] = await Promise.all([survey(directory), capabilitiesIn(directory)]);
    await changeOwners(merged, changesOf(owners, idMap, directory));
    // Both are lost with the old owner.
    for (const [mode, paths] of modes) await run('coreutils', 'chmod', [mode, '--', ...paths], merged);
    if (capabilities !== '') await restore(capabilities, merged);
    return bytes;
  } finally {
    await unmount([merged]);
    await rm(scratch, { recursive: true, force: true });
  }
}

/** `uid:gid` of files, as they are and as they are to be. */
type OwnerChange = [from: string, to: string];

function changesOf(owners: Iterable<string>, { users, groups }: IdMap, directory: string): OwnerChange[] {
  return [...owners].flatMap((from): OwnerChange[] => {
    const [uid, gid] = from.split(':').map(Number) as [number, number];
    const [user, group] = [idOutside(users, uid), idOutside(groups, gid)];
    if (user === undefined || group === undefined) {
      throw new ImageError(`${directory} has files of ${from}, who is beyond the ids of containers`);
    }
    return user === uid && group === gid ? [] : [[from, `${user}:${group}`]];
  });
}

/** One walk: each file is given away once, by the first condition that it fits. */
async function changeOwners(merged: string, changes: OwnerChange[]): Promise<void> {
  if (changes.length === 0) return;
  const clauses = changes.map(([from, to]) => {
    const [uid = '', gid = ''] = from.split(':');
    return ['(', '-uid', uid, '-gid', gid, '-exec', 'chown', '--no-dereference', to, '{}', '+', ')'];
  });
  const args = clauses.flatMap((clause, index) => (index === 0 ? clause : ['-o', ...clause]));
  await run('findutils', 'find', ['.', '-xdev', ...args], merged);
}

/**
 * Owners of all that is there, set-user-id and set-group-id files by their modes, and the bytes of all files: the new
 * layer itself has no content.
 */
async function survey(
  directory: string,
): Promise<{ owners: Set<string>; modes: Map<string, string[]>; bytes: number }> {
  const special = ['-type', 'f', '-perm', '/6000', '-printf', '%m\t%p\\0'];
  const args = ['.', '-xdev', '-printf', '%U:%G\t%y%b\\0', ...special];
  const owners = new Set<string>();
  const modes = new Map<string, string[]>();
  let blocks = 0;
  for (const entry of (await run('findutils', 'find', args, directory)).split('\0').filter(Boolean)) {
    const [first, second] = [entry.slice(0, entry.indexOf('\t')), entry.slice(entry.indexOf('\t') + 1)];
    if (!first.includes(':')) {
      modes.set(first, [...(modes.get(first) ?? []), second]);
      continue;
    }
    owners.add(first);
    if (second.startsWith('f')) blocks += Number(second.slice(1));
  }
  return { owners, modes, bytes: blocks * 512 };
}

/** Capabilities of files as `getfattr` prints them, made to count for root of a container. */
async function capabilitiesIn(directory: string): Promise<string> {
  const args = ['--recursive', '--physical', '--no-dereference', `--match=^${capability}$`, '--encoding=hex', '--dump'];
  const dump = await run('attr', 'getfattr', [...args, '.'], directory);
  return dump.replace(new RegExp(`^${capability}=0x([0-9a-f]*)$`, 'gm'), (_, digits: string) => {
    const value = Buffer.from(digits, 'hex').toString('latin1');
    const shifted = capabilityOnDisk(value, () => rootOutside) ?? value;
    return `${capability}=0x${Buffer.from(shifted, 'latin1').toString('hex')}`;
  });
}

async function restore(dump: string, merged: string): Promise<void> {
  await runHostProgram('attr', 'setfattr', ['--no-dereference', '--restore=-'], { cwd: merged, input: dump });
}

async function run(debianPackage: string, program: string, args: string[], cwd: string): Promise<string> {
  return (await runHostProgram(debianPackage, program, args, { cwd, timeoutMs: limitMs })).stdout;
}
