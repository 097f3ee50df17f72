import { randomUUID } from 'node:crypto';
import { mkdir, mkdtemp, open, readdir, rm } from 'node:fs/promises';
import { join, posix } from 'node:path';
import type { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { packDirectory, packEntry, unpack } from '../tree-archive.js';
import { requestOnce } from './connection.js';
import { directoryScript, quote } from './job-script.js';
import type { WardenUser } from './requests.js';

export interface TransfersOptions {
  socketPath: string;
  handle: string;
  /** Directory on the host that Warden's rsync sees, too. */
  scratchDirectory: string;
  /** Runs a script as root in the container. @throws when it fails */
  runAsRoot: (script: string) => Promise<void>;
}

/** What paths without a leading slash are relative to. */
const homes: Record<WardenUser, string> = { root: '/root', vcap: '/home/vcap' };

/** Streams into and out of a container by Warden's copies, through private directories on the host. */
export class Transfers {
  readonly #options: TransfersOptions;

  constructor(options: TransfersOptions) {
    this.#options = options;
  }

  /** Extracts an archive at `path`; everything belongs to vcap or root. */
  async streamIn(path: string, user: WardenUser, tar: Readable): Promise<void> {
    // The sender may break off before anybody looks; unpacking will see it.
    tar.on('error', () => {});
    await this.#withScratch(async (directory) => {
      const content = join(directory, 'content');
      await mkdir(content, { mode: 0o755 });
      await unpack(tar, async () => ({ directory: content }));
      const destination = posix.resolve(homes[user], path);
      // Warden's rsync makes the last component at most.
      await this.#options.runAsRoot(directoryScript(destination, user));
      if (user === 'vcap') return this.#copyIn(`${content}/`, destination);
      // Warden gives everything to vcap: what is for root takes a detour.
      const detour = `/tmp/.isthmus-${randomUUID()}`;
      await this.#copyIn(`${content}/`, detour);
      const [from, to] = [quote(detour), quote(destination)];
      await this.#options.runAsRoot(
        `chown -hR root:root ${from} && cp -a ${from}/. ${to}/; status=$?; rm -rf ${from}; exit $status`,
      );
    });
  }

  /** @throws when the path does not exist */
  async streamOut(path: string, user: WardenUser): Promise<Readable> {
    const directory = await this.#makeScratch();
    const remove = () => rm(directory, { recursive: true, force: true });
    try {
      const { socketPath, handle } = this.#options;
      const srcPath = posix.isAbsolute(path) ? path : posix.join(homes[user], path);
      await requestOnce(socketPath, 'CopyOut', { handle, srcPath, dstPath: `${directory}/` });
      const archive = await this.#pack(directory, path);
      archive.on('close', () => void remove().catch(() => {}));
      return archive;
    } catch (error) {
      await remove();
      throw error;
    }
  }

  /** Puts what a process is to read into a file in the container, and gives its path. */
  async storeInput(input: Readable): Promise<string> {
    return this.#withScratch(async (directory) => {
      const path = join(directory, 'input');
      const file = await open(path, 'wx', 0o644);
      await pipeline(input, file.createWriteStream());
      const destination = `/tmp/.isthmus-${randomUUID()}`;
      await this.#copyIn(path, destination);
      return destination;
    });
  }

  async #pack(directory: string, path: string): Promise<Readable> {
    if (path.endsWith('/')) return packDirectory(directory);
    const [name = posix.basename(path)] = await readdir(directory);
    return packEntry(join(directory, name));
  }

  async #copyIn(srcPath: string, dstPath: string): Promise<void> {
    const { socketPath, handle } = this.#options;
    await requestOnce(socketPath, 'CopyIn', { handle, srcPath, dstPath });
  }

  async #withScratch<Result>(work: (directory: string) => Promise<Result>): Promise<Result> {
    const directory = await this.#makeScratch();
    try {
      return await work(directory);
    } finally {
      await rm(directory, { recursive: true, force: true });
    }
  }

  async #makeScratch(): Promise<string> {
    await mkdir(this.#options.scratchDirectory, { recursive: true, mode: 0o700 });
    return mkdtemp(join(this.#options.scratchDirectory, 'transfer-'));
  }
}
