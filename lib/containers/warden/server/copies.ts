import { lstat, stat } from 'node:fs/promises';
import { posix } from 'node:path';
import { runCommand } from '../../../process/command.js';
import type { Container } from '../../engine.js';
import { ExecutableNotFoundError } from '../../errors.js';
import { WardenError } from '../errors.js';
import { packDirectory, packEntry, unpack } from '../tree-archive.js';

/** Whom what is copied in belongs to. */
const copyUser = 'vcap';
const ownerPattern = /^[A-Za-z0-9_][A-Za-z0-9_.-]*(:[A-Za-z0-9_][A-Za-z0-9_.-]*)?$/;

/**
 * Copies from the host into a container as `rsync` does: with a trailing slash the content of a directory, without one
 * the directory itself; a file into a directory or under a new name (docs/protocol/containers.md §1.6).
 */
export async function copyIn(container: Container, source: string, destination: string): Promise<void> {
  expectAbsolute('src_path', source);
  const streamIn = (path: string, tar: ReturnType<typeof packDirectory>) =>
    container.streamIn({ path, user: copyUser, tar });
  if (source.endsWith('/')) {
    if (!(await kindOf(source, stat)).isDirectory()) throw new WardenError(`src_path: ${source} is not a directory`);
    return streamIn(destination, packDirectory(source));
  }
  const kind = await kindOf(source, lstat);
  if (kind.isDirectory()) return streamIn(destination, packEntry(source));
  if (!kind.isFile() && !kind.isSymbolicLink()) throw new WardenError(`src_path: ${source} is not a regular file`);
  if (destination.endsWith('/') || (await isDirectoryInside(container, destination))) {
    return streamIn(destination, packEntry(source));
  }
  return streamIn(posix.dirname(destination), packEntry(source, { as: posix.basename(destination) }));
}

/** The other way; what arrives belongs to root, or to `owner` (`user` or `user:group`), everything below, too. */
export async function copyOut(
  container: Container,
  source: string,
  destination: string,
  owner: string | undefined,
): Promise<void> {
  expectAbsolute('dst_path', destination);
  if (owner !== undefined && owner !== '' && !ownerPattern.test(owner)) {
    throw new WardenError(`owner: ${JSON.stringify(owner)} is not of the form user:group`);
  }
  const archive = await container.streamOut({ path: source, user: 'root' });
  await unpack(archive, async ({ isDirectory }) => {
    const isInto = isDirectory || destination.endsWith('/') || (await isDirectoryOnHost(destination));
    return isInto
      ? { directory: destination }
      : { directory: posix.dirname(destination), name: posix.basename(destination) };
  });
  if (owner) await runCommand('chown', ['-R', '--', owner, destination]);
}

function expectAbsolute(field: string, path: string): void {
  if (path.startsWith('/') && !path.includes('\0')) return;
  throw new WardenError(`${field}: ${JSON.stringify(path)} is no absolute path`);
}

async function kindOf(path: string, look: typeof stat): ReturnType<typeof stat> {
  try {
    return await look(path);
  } catch (cause) {
    throw new WardenError(`src_path: ${path}: no such file or directory`, { cause });
  }
}

async function isDirectoryOnHost(path: string): Promise<boolean> {
  return stat(path).then(
    (status) => status.isDirectory(),
    () => false,
  );
}

async function isDirectoryInside(container: Container, path: string): Promise<boolean> {
  try {
    const test = await container.run({ path: 'test', args: ['-d', path], user: copyUser, discardOutput: true });
    return (await test.wait()) === 0;
  } catch (error) {
    // Without the program the spelling alone decides.
    if (error instanceof ExecutableNotFoundError) return false;
    throw error;
  }
}
