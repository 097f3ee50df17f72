import { mkdir, rmdir, stat } from 'node:fs/promises';
import { dirname, join, relative } from 'node:path';
import { isBeneath } from '../../files/beneath.js';
import { aliasMount, listMounts, unmount } from './mounts.js';
import { engineTag } from './tag.js';

/**
 * A depot by a path that everybody may walk. Root of a container with a user namespace is nobody on the host: it cannot
 * get to its root file system through a directory that is closed to others. Where one is, the depot is mounted a second
 * time at a place of its own, and what is mounted below it later shows there, too.
 */
export class ReachableDepot {
  private constructor(
    private readonly depot: string,
    private readonly alias: string | undefined,
  ) {}

  /** Looks at the path, and mounts when that is needed and was not done by an engine before this one. */
  static async prepare(depot: string): Promise<ReachableDepot> {
    const alias = `/run/isthmus-${engineTag(depot)}`;
    // Containers of before may count on the other path, also when the directories have been opened since.
    const isMounted = (await listMounts()).some(({ path }) => path === alias);
    if (!isMounted && (await isOpenToOthers(depot))) return new ReachableDepot(depot, undefined);
    await mkdir(alias, { recursive: true, mode: 0o711 });
    await aliasMount(depot, alias);
    return new ReachableDepot(depot, alias);
  }

  /** The path that leads to something in the depot without passing what lies above it. */
  pathOf(path: string): string {
    if (this.alias === undefined || !isBeneath(this.depot, path)) return path;
    return join(this.alias, relative(this.depot, path));
  }

  /** Takes the mounts away; nothing may be mounted below the depot any more. Idempotent. */
  async release(): Promise<void> {
    if (this.alias === undefined) return;
    await unmount([this.alias, this.depot]);
    await rmdir(this.alias).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== 'ENOENT') throw error;
    });
  }
}

async function isOpenToOthers(path: string): Promise<boolean> {
  const { mode } = await stat(path);
  if ((mode & 0o001) === 0) return false;
  return path === '/' || isOpenToOthers(dirname(path));
}
