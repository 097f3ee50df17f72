import { randomBytes } from 'node:crypto';
import { mkdir, readdir, readFile, rename, rm, stat, utimes } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { syncDirectory, writeFileAtomically } from '../../../../files/atomic-write.js';
import { isBeneath } from '../../../../files/beneath.js';
import { makeDirectories } from '../../../../files/directories.js';
import { errorData, type Logger } from '../../../../logging/logger.js';
import { ImageError } from '../../../errors.js';
import { runHostProgram } from '../../host-program.js';
import { listMounts, unmount } from '../../mounts.js';
import { bigTreeBytes } from '../../volumes/tree-usage.js';
import type { UnpackedLayer } from './layer-unpacking.js';
import type { LowerLayer } from './lower-view.js';

const removalRetries = 5;

const recordSchema = z.object({
  version: z.literal(1),
  /** What the layer takes on the disk. */
  bytes: z.number(),
  /** As in `UnpackedLayer`. */
  opaqueDirectories: z.array(z.string()),
  /** As in `UnpackedLayer`. */
  shownBytes: z.number().exactOptional(),
  /** Where it came from, for people. */
  origin: z.string(),
});

/** A layer that lies unpacked in the store. */
export interface StoredLayer extends LowerLayer {
  name: string;
  /** What it takes on the disk. */
  bytes: number;
  /** What a container sees of it. */
  shownBytes: number;
}

interface Entry extends StoredLayer {
  /** Milliseconds since the epoch. */
  usedAt: number;
}

/** Syncing waits for whatever else is written to the same disk. */
const syncLimitMs = 300_000;

/**
 * Layers, unpacked once and then never changed (docs/protocol/containers.md §4.2).
 *
 *     <directory>/layers/<name>/rootfs       what the layer holds
 *                               layer.json   what is known about it; its time is that of the last use
 *     <directory>/unfinished/<random>/       what is being unpacked or removed; emptied at start
 *
 * A layer gets its name in one step, after all of it is on the disk, and loses it in one step before it is removed:
 * whatever has a name is whole. One store belongs to one engine.
 */
export class LayerStore {
  readonly #layers: string;
  readonly #unfinished: string;
  readonly #logger: Logger;
  readonly #entries = new Map<string, Entry>();
  readonly #references = new Map<string, number>();
  /** What is being unpacked or removed, by name. */
  readonly #busy = new Map<string, Promise<unknown>>();
  #lastUse = 0;

  constructor(options: { directory: string; logger: Logger }) {
    this.#layers = join(options.directory, 'layers');
    this.#unfinished = join(options.directory, 'unfinished');
    this.#logger = options.logger;
  }

  /** Removes what a killed engine left unfinished, and takes note of what is there. */
  async start(): Promise<void> {
    await this.#unmountUnfinished();
    // A program of a killed engine may still be writing there, for a moment.
    await rm(this.#unfinished, { recursive: true, force: true, maxRetries: removalRetries });
    // Images hold setuid programs and devices: nobody else may reach them.
    for (const directory of [this.#layers, this.#unfinished]) await mkdir(directory, { recursive: true, mode: 0o700 });
    for (const name of await readdir(this.#layers)) {
      const entry = await this.#read(name);
      if (entry) this.#entries.set(name, entry);
      else await this.#discard(join(this.#layers, name));
    }
  }

  /** Resolves when nothing is being unpacked or removed any more. */
  async settle(): Promise<void> {
    while (this.#busy.size > 0) await Promise.allSettled(this.#busy.values());
  }

  /** Of all layers that are there. */
  get names(): string[] {
    return [...this.#entries.keys()];
  }

  /** A layer that is there. */
  get(name: string): StoredLayer | undefined {
    return this.#entries.get(name);
  }

  /**
   * The layer of this name, unpacked now unless it is there or is being unpacked for somebody else. It has one more
   * reference then, to be given up by `release`.
   *
   * @param unpack fills the given, empty directory
   */
  async obtain(
    name: string,
    origin: string,
    unpack: (directory: string) => Promise<UnpackedLayer>,
  ): Promise<StoredLayer> {
    this.#refer(name, 1);
    try {
      for (let busy = this.#busy.get(name); busy; busy = this.#busy.get(name)) await busy.catch(() => {});
      const known = this.#entries.get(name);
      if (known) {
        await this.#touch(known);
        return known;
      }
      return await this.#whileBusy(name, () => this.#add(name, origin, unpack));
    } catch (error) {
      this.#refer(name, -1);
      throw error;
    }
  }

  /** @throws when one of the layers is gone; then none is referred to */
  retain(names: readonly string[]): void {
    const missing = names.find((name) => !this.#entries.has(name));
    if (missing !== undefined) throw new Error(`layer ${missing} is not in the store any more`);
    for (const name of names) this.#refer(name, 1);
  }

  /** A killed engine may have been looking at a layer through a mount. */
  async #unmountUnfinished(): Promise<void> {
    const mounts = (await listMounts()).map(({ path }) => path);
    await unmount(mounts.filter((path) => isBeneath(this.#unfinished, path)).reverse());
  }

  /** The names of an image come top first: what lies below others then counts as used last. */
  release(names: readonly string[]): void {
    for (const name of names) this.#refer(name, -1);
  }

  /**
   * Removes layers that nobody refers to, those used last kept up to `keptBytes`.
   *
   * @returns how many were removed
   */
  async collect(keptBytes: number): Promise<number> {
    const unused = [...this.#entries.values()]
      .filter(({ name }) => !this.#references.has(name) && !this.#busy.has(name))
      .sort((one, other) => other.usedAt - one.usedAt);
    let bytes = 0;
    const removed: Entry[] = [];
    for (const entry of unused) {
      bytes += entry.bytes;
      if (bytes > keptBytes) removed.push(entry);
    }
    await Promise.all(removed.map((entry) => this.#whileBusy(entry.name, () => this.#remove(entry))));
    return removed.length;
  }

  #refer(name: string, change: 1 | -1): void {
    const count = (this.#references.get(name) ?? 0) + change;
    if (count > 0) {
      this.#references.set(name, count);
      return;
    }
    this.#references.delete(name);
    const entry = this.#entries.get(name);
    if (entry) entry.usedAt = this.#nextUse();
  }

  /** The time, and later than every use before. */
  #nextUse(): number {
    this.#lastUse = Math.max(Date.now(), this.#lastUse + 1);
    return this.#lastUse;
  }

  async #whileBusy<Result>(name: string, work: () => Promise<Result>): Promise<Result> {
    const working = work();
    this.#busy.set(name, working);
    try {
      return await working;
    } finally {
      this.#busy.delete(name);
    }
  }

  async #add(
    name: string,
    origin: string,
    unpack: (directory: string) => Promise<UnpackedLayer>,
  ): Promise<StoredLayer> {
    const temporary = this.#unfinishedDirectory();
    try {
      const rootfs = join(temporary, 'rootfs');
      await makeDirectories(rootfs, 0o755);
      const { opaqueDirectories, shownBytes } = await unpack(rootfs);
      await runHostProgram('coreutils', 'sync', ['--file-system', temporary], { timeoutMs: syncLimitMs });
      const bytes = await bigTreeBytes(rootfs);
      const record = {
        version: 1 as const,
        bytes,
        opaqueDirectories: [...opaqueDirectories],
        ...(shownBytes !== undefined && { shownBytes }),
        origin,
      };
      await writeFileAtomically(join(temporary, 'layer.json'), JSON.stringify(record));
      await rename(temporary, join(this.#layers, name));
      await syncDirectory(this.#layers);
      const entry = this.#entry(name, record, this.#nextUse());
      this.#entries.set(name, entry);
      this.#logger.info('containers.images.layer-unpacked', { layer: name, bytes, origin });
      return entry;
    } catch (error) {
      await this.#discard(temporary);
      if ((error as NodeJS.ErrnoException).code !== 'ENOSPC') throw error;
      throw new ImageError(`${origin} cannot be unpacked: no space left on device`, { cause: error });
    }
  }

  async #remove({ name, bytes }: Entry): Promise<void> {
    this.#entries.delete(name);
    await this.#discard(join(this.#layers, name));
    this.#logger.info('containers.images.layer-removed', { layer: name, bytes });
  }

  async #read(name: string): Promise<Entry | undefined> {
    try {
      const path = join(this.#layers, name, 'layer.json');
      const [text, { mtimeMs }] = await Promise.all([readFile(path, 'utf8'), stat(path)]);
      return this.#entry(name, recordSchema.parse(JSON.parse(text)), mtimeMs);
    } catch (error) {
      this.#logger.warn('containers.images.layer-damaged', { layer: name, ...errorData(error) });
      return undefined;
    }
  }

  #entry(name: string, record: z.infer<typeof recordSchema>, usedAt: number): Entry {
    const { bytes, opaqueDirectories, shownBytes = bytes } = record;
    const directory = join(this.#layers, name, 'rootfs');
    return { name, directory, bytes, shownBytes, opaque: new Set(opaqueDirectories), usedAt };
  }

  async #touch(entry: Entry): Promise<void> {
    entry.usedAt = this.#nextUse();
    const now = new Date(entry.usedAt);
    await utimes(join(this.#layers, entry.name, 'layer.json'), now, now);
  }

  /** What cannot be removed now is removed at the next start. */
  async #discard(path: string): Promise<void> {
    const doomed = this.#unfinishedDirectory();
    try {
      await rename(path, doomed);
      await rm(doomed, { recursive: true, force: true });
    } catch (error) {
      this.#logger.warn('containers.images.not-removed', { path, ...errorData(error) });
    }
  }

  #unfinishedDirectory(): string {
    return join(this.#unfinished, randomBytes(6).toString('hex'));
  }
}
