import { lchown, lstat, readdir, readFile, readlink } from 'node:fs/promises';
import { join } from 'node:path';
import type { ProcessIdentity } from '../../../process/identity.js';
import { rootOf } from '../users/container-files.js';

/** Of pseudo-terminals, as the kernel numbers devices. */
const terminalMajor = 136;

/**
 * Gives the terminal of a process to its user, so that programs can open it by name. One runtime does it itself, the
 * other leaves it to root. Which terminal it is tells conmon, who holds its other end, and not the process, which may
 * have something else in its place by now.
 *
 * @param owner user of the host
 */
export async function giveTerminal(init: ProcessIdentity, conmon: number, owner: number): Promise<void> {
  const index = await terminalHeldBy(conmon);
  if (index === undefined) return;
  const node = join(rootOf(init), 'dev/pts', String(index));
  const status = await lstat(node).catch(() => undefined);
  if (!status?.isCharacterDevice() || majorOf(status.rdev) !== terminalMajor || status.uid === owner) return;
  await lchown(node, owner, status.gid);
}

async function terminalHeldBy(pid: number): Promise<number | undefined> {
  const descriptors = await readdir(`/proc/${pid}/fd`).catch(() => []);
  for (const descriptor of descriptors) {
    const target = await readlink(`/proc/${pid}/fd/${descriptor}`).catch(() => '');
    if (!target.endsWith('ptmx')) continue;
    const information = await readFile(`/proc/${pid}/fdinfo/${descriptor}`, 'latin1').catch(() => '');
    const index = /^tty-index:\s*(\d+)$/m.exec(information)?.[1];
    if (index !== undefined) return Number(index);
  }
  return undefined;
}

function majorOf(device: number): number {
  return (device >> 8) & 0xfff;
}
