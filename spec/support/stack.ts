import { existsSync } from 'node:fs';
import { join } from 'node:path';

/** Where `bin/setup` puts the default stack. */
const defaultStack = '/var/lib/isthmus/stacks/bookworm';

/**
 * The root filesystem that specs make containers from: `$ISTHMUS_STACK`, or the one that `bin/setup` makes.
 *
 * @throws when there is no finished one
 */
export function stackRootfs(): string {
  const path = process.env.ISTHMUS_STACK ?? defaultStack;
  if (!existsSync(join(path, 'etc/isthmus-stack'))) {
    throw new Error(`no root filesystem in ${path}; run bin/setup (or bin/make-stack ${path}) as root`);
  }
  return path;
}
