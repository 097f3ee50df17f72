import { readlinkSync } from 'node:fs';
import { readlink } from 'node:fs/promises';
import { join, sep } from 'node:path';
import { OutsideRootError, TooManyLinksError } from './beneath.js';
import { EntityNotFoundError, found, HeldPlace, type Standing } from './held-place.js';

const maximumLinks = 40;
/** Components that a walk may take in all: more than any path that the kernel takes. */
const maximumSteps = 4096;

/**
 * Walks from a root as a process would that has it as its root directory, and holds the place where it stands. Each
 * component is opened in the directory that is held, so that nobody who swaps names or moves directories meanwhile can
 * lead it out of the root. Holds two places at most, however deep it goes.
 */
export class Walk {
  /** Names from the root to where the walk stands, none of them a symbolic link. */
  private names: string[] = [];
  private here: HeldPlace;
  private links = 0;
  private steps = 0;

  private constructor(
    private readonly root: HeldPlace,
    private readonly rootPath: string,
    private readonly onLink: 'follow' | 'refuse',
  ) {
    this.here = root;
  }

  /** @param root absolute; links in it are the host's own and are followed. @throws EntityNotFoundError */
  static async from(root: string, onLink: 'follow' | 'refuse' = 'follow'): Promise<Walk> {
    const place = await HeldPlace.at(root);
    return new Walk(place, readlinkSync(place.link), onLink);
  }

  /** Where it stands: absolute, on the host, free of symbolic links. */
  get path(): string {
    return join(this.rootPath, ...this.names);
  }

  /** What is held; closed with the walk. */
  get place(): HeldPlace {
    return this.here;
  }

  /** Whether it has followed symbolic links. */
  get hasFollowedLinks(): boolean {
    return this.links > 0;
  }

  /**
   * Goes on from where it stands. Behind a slash, as for the system, there must be a directory.
   * @throws EntityNotFoundError, OutsideRootError, TooManyLinksError, or what the file system says
   */
  async go(path: string): Promise<void> {
    /** The next component is the last. */
    let pending = path.split(sep).reverse();
    for (let component = pending.pop(); component !== undefined; component = pending.pop()) {
      this.steps += 1;
      if (this.steps > maximumSteps) throw new TooManyLinksError(path);
      if (!this.here.status.isDirectory()) throw new EntityNotFoundError(path);
      if (component === '' || component === '.') continue;
      if (component === '..') {
        if (this.names.length === 0) throw new OutsideRootError(path);
        // From the root again: on the disk the parent may lie outside of it by now.
        pending = [...pending, ...this.names.slice(0, -1).reverse()];
        this.returnToRoot();
        continue;
      }
      const target = await this.enter(component, path);
      if (target === undefined) continue;
      if (this.onLink === 'refuse') throw new EntityNotFoundError(path);
      this.links += 1;
      if (this.links > maximumLinks) throw new TooManyLinksError(path);
      if (target.startsWith(sep)) this.returnToRoot();
      pending = [...pending, ...target.split(sep).reverse()];
    }
  }

  /** Ends the walk and hands on where it stands; whoever gets the place closes it. */
  arrive(): Standing {
    const { path, here } = this;
    if (here !== this.root) this.root.close();
    return { path, place: here };
  }

  /** Idempotent. */
  close(): void {
    this.here.close();
    this.root.close();
  }

  /** Takes one step. Does not take it when a symbolic link is there, and gives its target. */
  private async enter(name: string, path: string): Promise<string | undefined> {
    const entry = `${this.here.link}/${name}`;
    const next = await HeldPlace.at(entry, 'held', path);
    if (next.status.isSymbolicLink()) {
      next.close();
      return found(path, readlink(entry));
    }
    this.leave();
    this.here = next;
    this.names.push(name);
    return undefined;
  }

  private returnToRoot(): void {
    this.leave();
    this.here = this.root;
    this.names = [];
  }

  private leave(): void {
    if (this.here !== this.root) this.here.close();
  }
}
