import { mkdir, rm, symlink } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { runHostProgram } from '../../host-program.js';
import { mountOverlay, unmount } from '../../mounts.js';
import { rootOutside } from '../../users/id-map.js';
import { capabilityOnDisk } from './file-capability.js';

/** Thousands of files are visited, on a disk that may be busy. */
const limitMs = 300_000;
const capability = 'security.capability';
const owner = String(rootOutside);

/**
 * Gives root's files of a directory to root of unprivileged containers, without copying what is in them: the layer that
 * comes out holds owners, modes and attributes only, and shows the directory's own content when it is laid over it with
 * the overlay option `metacopy`. A file with several names becomes several files.
 *
 * @param layer empty directory of the new layer; a directory beside it is used meanwhile
 * @returns bytes of the whole as a container sees it
 * @throws CommandError where the kernel knows no such layers; HostRequirementError when a program is missing
 */
export async function reown(directory: string, layer: string): Promise<number> {
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
    const [{ modes, bytes }, capabilities] = await Promise.all([survey(directory), capabilitiesIn(directory)]);
    await changeOwners(merged);
    // Both are lost with the old owner.
    for (const [mode, paths] of modes) await run('coreutils', 'chmod', [mode, '--', ...paths], merged);
    if (capabilities !== '') await restore(capabilities, merged);
    return bytes;
  } finally {
    await unmount([merged]);
    await rm(scratch, { recursive: true, force: true });
  }
}

async function changeOwners(merged: string): Promise<void> {
  const change = (program: string, to: string, ...condition: string[]) => [
    '(',
    ...condition,
    '-exec',
    program,
    '--no-dereference',
    to,
    '{}',
    '+',
    ')',
  ];
  // One walk: each file gets to the first of these that it fits.
  const both = change('chown', `${owner}:${owner}`, '-uid', '0', '-gid', '0');
  const user = change('chown', owner, '-uid', '0');
  const group = change('chgrp', owner, '-gid', '0');
  await run('findutils', 'find', ['.', '-xdev', ...both, '-o', ...user, '-o', ...group], merged);
}

/**
 * Set-user-id and set-group-id files of root, by their modes, and the bytes of all files: the new layer itself has no
 * content.
 */
async function survey(directory: string): Promise<{ modes: Map<string, string[]>; bytes: number }> {
  const special = ['-perm', '/6000', '(', '-uid', '0', '-o', '-gid', '0', ')', '-printf', '%m\t%p\\0'];
  const args = ['.', '-xdev', '-type', 'f', '-printf', '%b\\0', ...special];
  const modes = new Map<string, string[]>();
  let blocks = 0;
  for (const entry of (await run('findutils', 'find', args, directory)).split('\0').filter(Boolean)) {
    const [number = '', path] = entry.split('\t', 2);
    if (path === undefined) blocks += Number(number);
    else modes.set(number, [...(modes.get(number) ?? []), path]);
  }
  return { modes, bytes: blocks * 512 };
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
