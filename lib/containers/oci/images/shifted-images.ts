import { createHash, randomBytes } from 'node:crypto';
import { mkdir, readdir, rename, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { InvalidSpecError } from '../../errors.js';
import { shiftedCopy } from './shifted-copy.js';

const unfinished = '.new';
const removalRetries = 5;

/**
 * Root file systems for containers with a user namespace, each a shifted copy of a directory on this host. A copy is
 * made once, and again when the directory was replaced or changed at its top.
 */
export class ShiftedImages {
  readonly #copies = new Map<string, Promise<string>>();

  /** @param directory where copies are kept; made when missing */
  constructor(private readonly directory: string) {}

  /** Makes the directory, and removes what an engine before this one did not finish. */
  async start(): Promise<void> {
    await mkdir(this.directory, { recursive: true, mode: 0o711 });
    const names = (await readdir(this.directory)).filter((name) => name.endsWith(unfinished));
    await Promise.all(names.map((name) => this.#discard(join(this.directory, name))));
  }

  /**
   * The shifted copy of a root file system.
   *
   * @throws InvalidSpecError when there is no such directory
   */
  async of(rootfs: string): Promise<string> {
    const status = await stat(rootfs, { bigint: true }).catch((cause: unknown) => {
      throw new InvalidSpecError(`rootfs ${rootfs} not found`, { cause });
    });
    if (!status.isDirectory()) throw new InvalidSpecError(`rootfs ${rootfs} is not a directory`);
    const identity = `${rootfs}\0${status.dev}\0${status.ino}\0${status.mtimeNs}`;
    const path = join(this.directory, createHash('sha256').update(identity).digest('hex').slice(0, 32));
    const copy = this.#copies.get(path) ?? this.#obtain(rootfs, path);
    this.#copies.set(path, copy);
    // One that failed is tried again by the next who asks.
    copy.catch(() => this.#copies.delete(path));
    return copy;
  }

  async #obtain(rootfs: string, path: string): Promise<string> {
    const isThere = await stat(path).then(
      () => true,
      () => false,
    );
    if (isThere) return path;
    const begun = `${path}.${randomBytes(4).toString('hex')}${unfinished}`;
    try {
      await shiftedCopy(rootfs, begun);
      await rename(begun, path);
      return path;
    } catch (error) {
      await this.#discard(begun);
      throw error;
    }
  }

  /** A copying program that outlived its engine may still be at it: without the name it comes to its end. */
  async #discard(begun: string): Promise<void> {
    const forsaken = `${begun}${unfinished}`;
    await rename(begun, forsaken).catch(() => {});
    await rm(forsaken, { recursive: true, force: true, maxRetries: removalRetries });
  }
}
