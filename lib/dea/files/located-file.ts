import { join, relative } from 'node:path';
import { isBeneath, OutsideRootError, TooManyLinksError } from '../../files/beneath.js';
import { EntityNotFoundError, type Standing } from '../../files/held-place.js';
import { RecentDirectories, type Wanted, type WholeFile } from '../../files/recent-directories.js';
import { Walk } from '../../files/walk.js';
import type { FileRoot } from './file-roots.js';

/** The path leads out of what is served. */
export class NotAccessibleError extends Error {
  constructor() {
    super('Not accessible');
  }
}

type Root = Omit<Extract<FileRoot, { state: 'ok' }>, 'state'>;

/** A file or directory that was found: a place that is held, or the content itself. */
export type LocatedFile = Standing | WholeFile;

/** Lets go what is held of a file that was found. Idempotent. */
export function letGo(file: LocatedFile): void {
  if ('place' in file) file.place.close();
}

/** Finds files, and remembers for a moment the directories where many are asked for. */
export class FileLocator {
  private readonly directories = new RecentDirectories();

  /** As `locateFile`; whoever gets the file lets it go. */
  async locate(root: Root, path: string, wanted: Wanted): Promise<LocatedFile> {
    const spelled = plainlySpelled(path);
    if (!spelled) return (await locateFile(root, path)).arrive();
    const { directory, name } = spelled;
    const key = `${root.containerRoot ?? root.root}\0${root.root}\0${directory}`;
    const recent = this.directories.find(key, name, wanted);
    if (recent) return recent;
    if (!this.directories.isAskedAgain(key)) return (await locateFile(root, path)).arrive();
    const pass = (walk: Walk) => this.directories.hold(key, walk);
    return (await locateFile(root, path, { ...spelled, pass })).arrive();
  }

  /** Holds nothing any more. Idempotent. */
  release(): void {
    this.directories.release();
  }
}

/** Where a walk goes by, if it meets no links on its way. */
interface Station {
  directory: string;
  name: string;
  pass(walk: Walk): Promise<void>;
}

/**
 * Finds a file as the container's own processes see it, and holds it (docs/protocol/dea.md §20.3). Whoever gets the walk
 * closes it.
 *
 * @param path below the root; an empty one is the root itself
 * @param station the path in two, and who wants to know the directory
 * @throws EntityNotFoundError, NotAccessibleError, or what the file system says
 */
export async function locateFile({ root, containerRoot = root }: Root, path: string, station?: Station): Promise<Walk> {
  const walk = await Walk.from(containerRoot);
  try {
    await walk.go(relative(containerRoot, root));
    const realRoot = walk.path;
    if (station) {
      await walk.go(station.directory);
      const isAsSpelled = !walk.hasFollowedLinks && walk.path === join(realRoot, station.directory);
      if (isAsSpelled && walk.place.status.isDirectory()) await station.pass(walk);
    }
    await walk.go(station ? station.name : path);
    if (!isBeneath(realRoot, walk.path)) throw new NotAccessibleError();
    return walk;
  } catch (error) {
    walk.close();
    if (error instanceof OutsideRootError) throw new NotAccessibleError();
    if (error instanceof TooManyLinksError) throw new EntityNotFoundError(path, error);
    throw error;
  }
}

/** Directory and name of a path that neither climbs nor ends in a slash or a dot. */
function plainlySpelled(path: string): { directory: string; name: string } | undefined {
  const slash = path.lastIndexOf('/');
  const [directory, name] = [path.slice(0, Math.max(slash, 0)), path.slice(slash + 1)];
  if (name === '' || name === '.' || /(^|\/)\.\.(\/|$)/.test(path)) return undefined;
  return { directory, name };
}
