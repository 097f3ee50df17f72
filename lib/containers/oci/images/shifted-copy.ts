import { chmod, lchown, lstat, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { runHostProgram } from '../host-program.js';
import { rootOutside, shiftId } from '../users/id-map.js';

/** Owners are changed so many files at a time. */
const parallelChanges = 32;
const setIdBits = 0o6000;
/** Version of a file's capabilities that names the root of a user namespace, in the highest byte of the first word. */
const namespacedVersion = 3;
const capabilityHeaderBytes = 4;
const capabilityDataBytes = 20;

/**
 * Copies a directory tree for containers with a user namespace: what belongs to root there belongs to the one outside
 * who is root inside (docs/protocol/containers.md §4.2). Modes, set-id bits, times, hard links, devices, extended
 * attributes and file capabilities are kept. `target` must not exist.
 */
export async function shiftedCopy(source: string, target: string): Promise<void> {
  await runHostProgram('coreutils', 'cp', ['-a', '--reflink=auto', '--', source, target], { timeoutMs: 600_000 });
  const capabilities = await readFileCapabilities(target);
  await shiftTree(target);
  if (capabilities === '') return;
  const shifted = capabilities.replaceAll(/(?<==)0x[0-9a-f]+/g, shiftCapability);
  await runHostProgram('attr', 'setfattr', ['--no-dereference', '--restore=-'], { input: shifted, cwd: target });
}

async function shiftTree(path: string): Promise<void> {
  const pending = [path];
  for (let batch = pending.splice(0, parallelChanges); batch.length > 0; batch = pending.splice(0, parallelChanges)) {
    const found = await Promise.all(batch.map(shiftEntry));
    pending.push(...found.flat());
  }
}

/** Gives the entries of a directory. A change of owner takes away the bits that lend the owner's rights. */
async function shiftEntry(path: string): Promise<string[]> {
  const status = await lstat(path);
  if (status.uid === 0 || status.gid === 0) {
    await lchown(path, shiftId(status.uid), shiftId(status.gid));
    if (!status.isSymbolicLink() && (status.mode & setIdBits) !== 0) await chmod(path, status.mode & 0o7777);
  }
  if (!status.isDirectory()) return [];
  return (await readdir(path)).map((name) => join(path, name));
}

/** Capabilities of the files in a tree, as `setfattr --restore` reads them; empty when there are none. */
async function readFileCapabilities(root: string): Promise<string> {
  const args = ['--recursive', '--physical', '--no-dereference', '--dump', '--encoding=hex'];
  const { stdout } = await runHostProgram('attr', 'getfattr', [...args, '--match=^security\\.capability$', '.'], {
    cwd: root,
    timeoutMs: 600_000,
  });
  return stdout;
}

/**
 * Those of the initial namespace mean nothing in another one: the same capabilities for whom root is inside.
 *
 * @param hex of `struct vfs_cap_data`, little-endian words: version and flags, two pairs of sets, and the root
 */
function shiftCapability(hex: string): string {
  const given = Buffer.from(hex.slice(2), 'hex');
  const shifted = Buffer.alloc(capabilityDataBytes + capabilityHeaderBytes);
  given.copy(shifted, 0, 0, capabilityDataBytes);
  shifted.writeUInt8(namespacedVersion, capabilityHeaderBytes - 1);
  shifted.writeUInt32LE(rootOutside, capabilityDataBytes);
  return `0x${shifted.toString('hex')}`;
}
