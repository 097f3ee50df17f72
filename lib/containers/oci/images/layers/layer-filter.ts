import { lstat } from 'node:fs/promises';
import { type IdMap, idOutside } from '../../users/id-map.js';
import {
  encodeEntry,
  endOfArchive,
  entryTypes,
  noXattrs,
  paddingFor,
  TarError,
  type TarHeader,
} from '../tar/tar-format.js';
import { readTar, showName, type TarEntry } from '../tar/tar-reader.js';
import { capabilityOnDisk } from './file-capability.js';
import { type DirectoryAttributes, type LowerView, pathOf } from './lower-view.js';
import { Packer } from './packer.js';

export interface LayerFilterOptions {
  /** The layers that this one is laid over. */
  lower: LowerView;
  /** Makes ids in the archive ids on the disk. @default they are the same */
  idMap?: IdMap;
  /** Directory of the image that the whole archive belongs under. @default its root */
  beneath?: string;
  /** More entries than this are refused. @default 1100000 */
  maximumEntries?: number;
  /** What is known of directories, links and markers is held in memory; more than this is refused. @default 192 MiB */
  maximumKeptBytes?: number;
}

type Directory = DirectoryAttributes & { xattrs: ReadonlyMap<string, string> };

/** A million, and the parents that an archive leaves out. */
const defaultMaximumEntries = 1_100_000;
const defaultMaximumKeptBytes = 192 * 1024 * 1024;
/** What an object costs beside its names, about. */
const keptOverheadBytes = 160;
/** Leaves room for the path of the store, so that whatever was unpacked can also be removed. */
const mostNameBytes = 3072;
const mostTargetBytes = 4095;
const mostLinksInARow = 40;
const whiteoutPrefix = '.wh.';
const opaqueMarker = '.wh..wh..opq';
/** What other names with this prefix mean concerns aufs alone. */
const aufsPrefix = '.wh..wh.';
const opaqueAttribute = 'trusted.overlay.opaque';
const unknownDirectory: DirectoryAttributes = { mode: 0o755, uid: 0, gid: 0, mtime: 0 };

/**
 * Turns the archive of a layer, which anybody may have made, into one that tar unpacks into an empty directory without
 * ever leaving it, and that makes a layer for overlayfs (docs/protocol/containers.md §4.2):
 *
 * - every name is relative and has no `..`, and none of its parents was ever a symbolic link in this archive, so that
 *   each parent is a directory which was announced before; the same goes for targets of hard links;
 * - parents that the archive leaves out look as they do in the layers below, whose symbolic links are followed;
 * - owners are those on the disk;
 * - markers of removed files are left out and told by `markers` afterwards;
 * - of extended attributes only capabilities and those of users are kept: others mean something to the host.
 */
export class LayerFilter {
  readonly #options: LayerFilterOptions;
  readonly #directories = new Map<string, Directory>();
  readonly #links = new Set<string>();
  readonly #whiteouts = new Set<string>();
  readonly #opaque = new Set<string>();
  /** Where the parents of entries really are, by how the archive calls them. */
  readonly #places = new Map<string, string>();
  readonly #packer = new Packer();
  #entries = 0;
  #keptBytes = 0;

  constructor(options: LayerFilterOptions) {
    this.#options = options;
  }

  /** Directories that hide what the layers below have in them; names as bytes. Known once `filter` has ended. */
  get opaqueDirectories(): readonly string[] {
    return [...this.#opaque];
  }

  /** Whether `markers` has anything to tell; known once `filter` has ended. */
  get hasMarkers(): boolean {
    return this.#whiteouts.size > 0 || this.#opaque.size > 0;
  }

  /** @throws TarError naming the entry */
  async *filter(source: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
    await this.#announceRoot();
    for await (const entry of readTar(source)) {
      this.#count();
      const hasContent = await this.#pass(entry);
      if (hasContent) yield* this.#packer.content(entry.content(), paddingFor(entry.header.size));
      else yield* this.#packer.full();
    }
    this.#packer.add(endOfArchive);
    yield* this.#packer.rest();
  }

  /**
   * A second archive, with what hides files of the layers below; it takes into account what the first one has put there.
   *
   * @param root where the first one was unpacked
   */
  async *markers(root: string): AsyncGenerator<Buffer> {
    const touched = new Set(this.#opaque);
    for (const path of this.#whiteouts) {
      const inTheWay = await lstat(pathOf(root, path)).catch(() => undefined);
      // A directory that takes the place of a removed one has nothing of it.
      if (inTheWay?.isDirectory()) this.#opaque.add(path);
      if (!inTheWay) this.#packer.add(encodeEntry(whiteout(path)));
      touched.add(inTheWay?.isDirectory() ? path : parentOf(path));
      yield* this.#packer.full();
    }
    // Last: what was made in a directory has changed its time.
    for (const path of touched) this.#packDirectory(path, this.#opaque.has(path));
    this.#packer.add(endOfArchive);
    yield* this.#packer.rest();
  }

  #count(): void {
    const { maximumEntries = defaultMaximumEntries } = this.#options;
    this.#entries += 1;
    if (this.#entries > maximumEntries) throw new TarError(`more than ${maximumEntries} entries`);
  }

  /** @throws TarError when too much has to be held in memory */
  #keep(...texts: string[]): void {
    const { maximumKeptBytes = defaultMaximumKeptBytes } = this.#options;
    this.#keptBytes += texts.reduce((sum, text) => sum + text.length, keptOverheadBytes);
    if (this.#keptBytes > maximumKeptBytes) throw new TarError('too many directories and links, or too long names');
  }

  /** Packs an entry up to its content, and tells whether that is to follow. */
  async #pass({ header, xattrs }: TarEntry): Promise<boolean> {
    const components = [...componentsOf(this.#options.beneath ?? '', header), ...componentsOf(header.name, header)];
    const name = components.at(-1);
    const isDirectory = header.type === entryTypes.directory || header.name.endsWith('/');
    if (name === undefined) {
      if (!isDirectory) throw new TarError(`${showName(header.name)}: the root is no directory`);
      this.#enter('', header, xattrs);
      return false;
    }
    const parent = await this.#placeOf(components.slice(0, -1));
    if (name.startsWith(whiteoutPrefix)) {
      await this.#mark(parent, name, header);
      return false;
    }
    const path = below(parent, name);
    if (path.length > mostNameBytes) throw new TarError(`${showName(path)}: the name is too long`);
    if (isDirectory) {
      this.#enter(path, header, xattrs);
      return false;
    }
    return this.#packOther(path, header, xattrs);
  }

  #enter(path: string, header: TarHeader, xattrs: ReadonlyMap<string, string>): void {
    if (this.#links.has(path)) throw ambiguous(path);
    const { mode, mtime } = header;
    const kept = this.#harmless(xattrs);
    this.#keep(path, ...[...kept].flat());
    this.#directories.set(path, { mode, ...this.#ownersOnDisk(header), mtime, xattrs: kept });
    this.#packDirectory(path, false);
  }

  async #packOther(path: string, header: TarHeader, xattrs: ReadonlyMap<string, string>): Promise<boolean> {
    const { type } = header;
    // An empty directory would give way to a link, and what is said to lie in it would lie elsewhere. Tar makes links
    // last: they would come after what takes their place.
    if (this.#directories.has(path)) throw ambiguous(path);
    if (this.#links.has(path) && type !== entryTypes.symbolicLink) throw ambiguous(path);
    const packed = { ...header, name: path, ...this.#ownersOnDisk(header) };
    if (type === entryTypes.file) {
      this.#packer.add(encodeEntry({ ...packed, linkName: '' }, this.#harmless(xattrs)));
      return true;
    }
    const bare = { ...packed, size: 0 };
    if (type === entryTypes.symbolicLink) {
      checkTarget(header);
      this.#keep(path);
      this.#links.add(path);
      this.#packer.add(encodeEntry(bare));
    } else if (type === entryTypes.hardLink) {
      const target = await this.#hardLinkTarget(header);
      // A hard link to a symbolic link is one.
      if (this.#links.has(target)) {
        this.#keep(path);
        this.#links.add(path);
      }
      this.#packer.add(encodeEntry({ ...bare, linkName: target }));
    } else if (([entryTypes.fifo, entryTypes.characterDevice, entryTypes.blockDevice] as string[]).includes(type)) {
      this.#packer.add(encodeEntry({ ...bare, linkName: '' }, this.#harmless(xattrs)));
    } else {
      throw new TarError(`${showName(header.name)}: entries of type ${showName(type)} cannot be unpacked`);
    }
    return false;
  }

  async #hardLinkTarget(header: TarHeader): Promise<string> {
    const components = [...componentsOf(this.#options.beneath ?? '', header), ...componentsOf(header.linkName, header)];
    const name = components.pop();
    if (name === undefined) throw new TarError(`${showName(header.name)}: the link has no target`);
    return below(await this.#placeOf(components), name);
  }

  async #mark(parent: string, name: string, header: TarHeader): Promise<void> {
    if (name === opaqueMarker) {
      if ((await this.#options.lower.look(parent))?.kind === 'directory') this.#opaque.add(parent);
      return;
    }
    if (name.startsWith(aufsPrefix)) return;
    const removed = name.slice(whiteoutPrefix.length);
    if (['', '.', '..'].includes(removed)) throw new TarError(`${showName(header.name)}: marks nothing as removed`);
    const path = below(parent, removed);
    // Overlayfs would show a marker that has nothing to hide.
    if (!(await this.#options.lower.look(path))) return;
    this.#keep(path);
    this.#whiteouts.add(path);
  }

  /** Where a directory of the archive is once the layers are merged; all on the way there is announced. */
  async #placeOf(components: string[]): Promise<string> {
    const name = components.join('/');
    const known = this.#places.get(name);
    if (known !== undefined) return known;
    const place: string[] = [];
    let pending = components;
    for (let links = 0; pending.length > 0; ) {
      const [component = '', ...rest] = pending;
      pending = rest;
      if (component === '..') place.pop();
      if (['', '.', '..'].includes(component)) continue;
      const target = await this.#step([...place, component].join('/'));
      if (target === undefined) {
        place.push(component);
        continue;
      }
      links += 1;
      if (links > mostLinksInARow) throw new TarError(`${showName(name)}: too many symbolic links`);
      if (target.startsWith('/')) place.length = 0;
      pending = [...target.split('/'), ...pending];
    }
    const found = place.join('/');
    if (found.length > mostNameBytes) throw new TarError(`${showName(name)}: the name is too long`);
    this.#keep(name, found);
    this.#places.set(name, found);
    return found;
  }

  /** Makes sure that a directory is there; gives the target when it is a symbolic link of a layer below. */
  async #step(path: string): Promise<string | undefined> {
    if (this.#links.has(path)) throw ambiguous(path);
    if (this.#directories.has(path)) return undefined;
    const found = await this.#options.lower.look(path);
    if (found?.kind === 'link') return found.target;
    this.#announce(path, found?.kind === 'directory' ? found.attributes : undefined);
    return undefined;
  }

  async #announceRoot(): Promise<void> {
    const found = await this.#options.lower.look('');
    this.#announce('', found?.kind === 'directory' ? found.attributes : undefined);
  }

  #announce(path: string, attributes: DirectoryAttributes | undefined): void {
    this.#count();
    this.#keep(path);
    const unknown = { ...unknownDirectory, ...this.#ownersOnDisk({ ...unknownDirectory, name: path }) };
    this.#directories.set(path, { ...(attributes ?? unknown), xattrs: noXattrs });
    this.#packDirectory(path, false);
  }

  /** @throws TarError when containers have no such user or group */
  #ownersOnDisk({ uid, gid, name }: Pick<TarHeader, 'uid' | 'gid' | 'name'>): { uid: number; gid: number } {
    const { idMap } = this.#options;
    if (!idMap) return { uid, gid };
    const user = idOutside(idMap.users, uid);
    const group = idOutside(idMap.groups, gid);
    if (user === undefined || group === undefined) {
      throw new TarError(`${showName(name)}: it belongs to ${uid}:${gid}, who is beyond the ids of containers`);
    }
    return { uid: user, gid: group };
  }

  /** Extended attributes that mean no more than they should, as they are on the disk. */
  #harmless(xattrs: ReadonlyMap<string, string>): ReadonlyMap<string, string> {
    if (xattrs.size === 0) return xattrs;
    const { idMap } = this.#options;
    const rootOnDisk = (id: number) => (idMap ? idOutside(idMap.users, id) : id);
    const kept = new Map<string, string>();
    for (const [name, value] of xattrs) {
      const isOfUsers = name.startsWith('user.') && !name.startsWith('user.overlay.');
      const wanted = name === 'security.capability' ? capabilityOnDisk(value, rootOnDisk) : isOfUsers && value;
      if (typeof wanted === 'string') kept.set(name, wanted);
    }
    return kept;
  }

  #packDirectory(path: string, isOpaque: boolean): void {
    const directory = this.#directories.get(path);
    if (!directory) return;
    const { xattrs, ...attributes } = directory;
    const header = { ...attributes, name: path === '' ? './' : `${path}/`, type: entryTypes.directory };
    const marked = isOpaque ? new Map([...xattrs, [opaqueAttribute, 'y']]) : xattrs;
    this.#packer.add(encodeEntry({ ...header, linkName: '', size: 0, deviceMajor: 0, deviceMinor: 0 }, marked));
  }
}

/** The parts of a name; a leading slash means the image's own root. @throws TarError for names that leave it */
function componentsOf(name: string, header: TarHeader): string[] {
  const components = name.split('/').filter((component) => component !== '' && component !== '.');
  if (components.includes('..')) throw new TarError(`${showName(header.name)}: the name leaves the image`);
  if (name.includes('\0')) throw new TarError(`${showName(header.name)}: the name has a NUL`);
  return components;
}

function checkTarget({ name, linkName }: TarHeader): void {
  if (linkName === '' || linkName.includes('\0') || linkName.length > mostTargetBytes) {
    throw new TarError(`${showName(name)}: no target for a symbolic link`);
  }
}

function ambiguous(path: string): TarError {
  return new TarError(`${showName(path)}: is two things in the same layer`);
}

/** How overlayfs marks a name that the layers below have and this one has not. */
function whiteout(path: string): TarHeader {
  const device = { type: entryTypes.characterDevice, deviceMajor: 0, deviceMinor: 0, size: 0, linkName: '' };
  return { ...unknownDirectory, ...device, mode: 0, name: path };
}

function below(parent: string, name: string): string {
  return parent === '' ? name : `${parent}/${name}`;
}

function parentOf(path: string): string {
  return path.includes('/') ? path.slice(0, path.lastIndexOf('/')) : '';
}
