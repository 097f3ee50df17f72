import { constants } from 'node:fs';
import { open } from 'node:fs/promises';
import { resolveBeneath } from '../../../files/beneath.js';
import type { ProcessIdentity } from '../../../process/identity.js';
import { type Account, resolveAccount } from './accounts.js';

/** More than any honest passwd file has. */
const maximumBytes = 4 * 1024 * 1024;

/** The root directory of a container as its init sees it, bind mounts included. */
export function rootOf(init: ProcessIdentity): string {
  return `/proc/${init.pid}/root`;
}

/**
 * Who `user` is in a living container, by its present passwd and group files.
 *
 * @throws UnknownUserError
 */
export async function lookUpAccount(init: ProcessIdentity, user: string): Promise<Account> {
  const [passwd, group] = await Promise.all([readSmallFile(init, '/etc/passwd'), readSmallFile(init, '/etc/group')]);
  return resolveAccount(user, passwd, group);
}

/** The content of a regular file; empty when there is none. A container may put anything in its place. */
async function readSmallFile(init: ProcessIdentity, path: string): Promise<string> {
  const root = rootOf(init);
  try {
    const resolved = await resolveBeneath(root, path);
    // Not to be led on by a link made since, nor to wait for the other end of a fifo.
    const file = await open(resolved, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
    try {
      const status = await file.stat();
      if (!status.isFile() || status.size > maximumBytes) return '';
      return await file.readFile('utf8');
    } finally {
      await file.close();
    }
  } catch {
    return '';
  }
}
