import { createHash, randomUUID } from 'node:crypto';
import { createReadStream, createWriteStream, openSync } from 'node:fs';
import { lstat, mkdir, open, readdir, rename, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { type Readable, Transform } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { syncDirectory } from '../../files/atomic-write.js';
import { OutsideRootError, resolveBeneath } from '../../files/beneath.js';

/** A blob is longer than its kind may be. */
export class BlobTooLargeError extends Error {
  constructor(readonly maximumBytes: number) {
    super(`more than ${maximumBytes} bytes`);
  }
}

/** The blob's name is not one of the store's: nothing outside its root can be named. */
export class InvalidBlobNameError extends Error {}

/** Bytes that have arrived whole and are on the disk, but have no name yet: commit or discard them. */
export interface PendingBlob {
  /** Where they lie; gone after `commit` or `discard`. */
  readonly path: string;
  readonly bytes: number;
  /** Hexadecimal. */
  readonly sha1: string;
  /** Base64, as `Content-MD5` has it. */
  readonly md5: string;
  /** Gives the blob its name in one step, replacing what had it. */
  commit(name: string): Promise<void>;
  /** Idempotent. */
  discard(): Promise<void>;
}

/** Segments of lower-case words, digits, `_`, `-` and inner dots, parted by `/`. */
const namePattern = /^[a-z0-9_][a-z0-9_-]*(?:[/.][a-z0-9_][a-z0-9_-]*)*$/;

/**
 * Blobs on disk, by name below one directory. Writes are atomic and durable: a reader sees the old blob, the new one,
 * or none. What a killed process left half-written is removed at `start`.
 */
export class Blobstore {
  private readonly incoming: string;

  constructor(private readonly root: string) {
    this.incoming = join(root, 'incoming');
  }

  async start(): Promise<void> {
    await mkdir(this.root, { recursive: true, mode: 0o700 });
    await rm(this.incoming, { recursive: true, force: true });
    await mkdir(this.incoming, { mode: 0o700 });
  }

  /**
   * Takes a stream to the disk, computing its checksums on the way.
   * @throws BlobTooLargeError beyond `maximumBytes`; the stream is destroyed then
   */
  async receive(source: Readable, maximumBytes: number): Promise<PendingBlob> {
    const path = join(this.incoming, randomUUID());
    const sha1 = createHash('sha1');
    const md5 = createHash('md5');
    let bytes = 0;
    const meter = new Transform({
      transform(chunk: Buffer, _encoding, done) {
        bytes += chunk.length;
        if (bytes > maximumBytes) return done(new BlobTooLargeError(maximumBytes));
        sha1.update(chunk);
        md5.update(chunk);
        done(null, chunk);
      },
    });
    // Opened at once: a source that breaks off early must not be overtaken by the file's creation.
    const fd = openSync(path, 'wx', 0o600);
    try {
      await pipeline(source, meter, createWriteStream(path, { fd }));
      await syncFile(path);
    } catch (error) {
      await rm(path, { force: true });
      throw error;
    }
    return {
      path,
      bytes,
      sha1: sha1.digest('hex'),
      md5: md5.digest('base64'),
      commit: (name) => this.commit(path, name),
      discard: () => rm(path, { force: true }),
    };
  }

  /** Takes a file that is already on the disk, as `receive` does. */
  receiveFile(path: string, maximumBytes: number): Promise<PendingBlob> {
    return this.receive(createReadStream(path), maximumBytes);
  }

  /** A path in the store's own file system, for making a file that `receiveFile` takes. */
  temporaryPath(): string {
    return join(this.incoming, randomUUID());
  }

  /**
   * The file of a blob, undefined when there is none. It stays readable for those who have opened it, also when the
   * blob is replaced or deleted.
   * @throws InvalidBlobNameError
   */
  async find(name: string): Promise<string | undefined> {
    const path = await this.pathOf(name);
    try {
      return (await lstat(path)).isFile() ? path : undefined;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
      throw error;
    }
  }

  /** Removes a blob, or all below a name. Idempotent. @throws InvalidBlobNameError */
  async delete(name: string): Promise<void> {
    await rm(await this.pathOf(name), { recursive: true, force: true });
  }

  /** Names directly below a name. @throws InvalidBlobNameError */
  async list(name: string): Promise<string[]> {
    try {
      return await readdir(await this.pathOf(name));
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
      throw error;
    }
  }

  private async commit(source: string, name: string): Promise<void> {
    const path = await this.pathOf(name);
    await mkdir(dirname(path), { recursive: true, mode: 0o700 });
    await rename(source, path);
    for (let directory = dirname(path); directory.length >= this.root.length; directory = dirname(directory)) {
      await syncDirectory(directory);
    }
  }

  private async pathOf(name: string): Promise<string> {
    if (!namePattern.test(name) || name.startsWith('incoming')) throw new InvalidBlobNameError(name);
    const path = join(this.root, name);
    // A link would lead to what is not the store's.
    if ((await resolveBeneath(this.root, name)) !== path) throw new OutsideRootError(name);
    return path;
  }
}

async function syncFile(path: string): Promise<void> {
  const file = await open(path, 'r');
  try {
    await file.sync();
  } finally {
    await file.close();
  }
}
