import { createWriteStream } from 'node:fs';
import { chmod, mkdir, symlink } from 'node:fs/promises';
import { dirname, isAbsolute, join } from 'node:path';
import { text } from 'node:stream/consumers';
import { pipeline } from 'node:stream/promises';
import { type Entry, openPromise, type ZipFile } from 'yauzl';
import { resolveBeneath } from './beneath.js';

export interface UnzipOptions {
  /** Gives up when the content is larger than this. @default 4 GiB */
  maxBytes?: number;
  signal?: AbortSignal;
}

/** An archive is damaged, or has entries that no honest archive has. */
export class ArchiveError extends Error {}

const fileTypeMask = 0o170000;
const types = { regular: 0o100000, directory: 0o040000, symbolicLink: 0o120000 };
const defaultMaxBytes = 4 * 1024 ** 3;

/**
 * Unpacks a zip file into a directory that is made for it or empty. Permission bits and symbolic links are kept.
 * Nothing is ever written outside the directory; an archive that tries to is refused as a whole, what was unpacked
 * so far stays for the caller to remove.
 *
 * @throws ArchiveError when the file is no zip or must not be unpacked; its text names the entry
 * @throws the file system's own error, or the signal's reason
 */
export async function unzip(archive: string, directory: string, options: UnzipOptions = {}): Promise<void> {
  await mkdir(directory, { recursive: true, mode: 0o755 });
  const zip = await openPromise(archive).catch((error: unknown) => {
    throw archiveError(error);
  });
  try {
    await new Unpacking(zip, directory, options).run();
  } catch (error) {
    options.signal?.throwIfAborted();
    throw error;
  } finally {
    zip.close();
  }
}

/** One archive on its way to disk. Links and modes come last: until then no entry can lead another one astray. */
class Unpacking {
  private readonly links: { name: string; target: string }[] = [];
  private readonly directoryModes: { path: string; mode: number }[] = [];
  private bytes = 0;

  constructor(
    private readonly zip: ZipFile,
    private readonly directory: string,
    private readonly options: UnzipOptions,
  ) {}

  async run(): Promise<void> {
    for await (const entry of entriesOf(this.zip)) {
      this.options.signal?.throwIfAborted();
      await this.unpack(entry);
    }
    for (const { name, target } of this.links) await symlink(target, join(this.directory, name));
    for (const { name } of this.links) await this.refuseLeavingLink(name);
    for (const { path, mode } of this.directoryModes.reverse()) await chmod(path, mode);
  }

  private async unpack(entry: Entry): Promise<void> {
    const name = entry.fileName.replace(/\/+$/, '');
    const path = join(this.directory, name);
    const { type, permissions } = modeOf(entry);
    this.count(entry);
    if (type === types.directory) {
      await mkdir(path, { recursive: true, mode: 0o755 });
      this.directoryModes.push({ path, mode: permissions ?? 0o755 });
      return;
    }
    await mkdir(dirname(path), { recursive: true, mode: 0o755 });
    if (type === types.symbolicLink) this.links.push({ name, target: await this.linkTarget(entry) });
    else if (type === types.regular) await this.writeFile(entry, path, permissions ?? 0o644);
    else throw new ArchiveError(`${entry.fileName}: neither a file nor a directory nor a link`);
  }

  /** The announced size is the true one: an entry that has more or less is refused while it is read. */
  private count(entry: Entry): void {
    const { maxBytes = defaultMaxBytes } = this.options;
    this.bytes += entry.uncompressedSize;
    if (this.bytes > maxBytes) throw new ArchiveError(`more than ${maxBytes} bytes when unpacked`);
  }

  private async writeFile(entry: Entry, path: string, mode: number): Promise<void> {
    const { signal } = this.options;
    const content = await this.contentOf(entry);
    try {
      await pipeline(content, createWriteStream(path, { flags: 'wx' }), signal ? { signal } : {});
    } catch (error) {
      // The file system names its errors, the archive does not.
      throw (error as NodeJS.ErrnoException).syscall === undefined ? archiveError(error, entry) : error;
    }
    await chmod(path, mode);
  }

  private async linkTarget(entry: Entry): Promise<string> {
    if (entry.uncompressedSize > 4096) throw new ArchiveError(`${entry.fileName}: the link's target is too long`);
    const target = await text(await this.contentOf(entry)).catch((error: unknown) => {
      throw archiveError(error, entry);
    });
    if (target === '' || isAbsolute(target)) throw new ArchiveError(`${entry.fileName}: the link leaves the archive`);
    return target;
  }

  private async contentOf(entry: Entry) {
    return this.zip.openReadStreamPromise(entry).catch((error: unknown) => {
      throw archiveError(error, entry);
    });
  }

  private async refuseLeavingLink(name: string): Promise<void> {
    try {
      await resolveBeneath(this.directory, name);
    } catch (error) {
      throw new ArchiveError(`${name}: the link leaves the archive`, { cause: error });
    }
  }
}

/** The archive's entries; refuses names that are absolute or climb with `..`. */
async function* entriesOf(zip: ZipFile): AsyncGenerator<Entry> {
  const entries = zip.eachEntry();
  for (;;) {
    let next: IteratorResult<Entry>;
    try {
      next = await entries.next();
    } catch (error) {
      throw archiveError(error);
    }
    if (next.done) return;
    yield next.value;
  }
}

/** Archives made on other systems tell no modes; a name that ends with `/` is a directory then. */
function modeOf({ externalFileAttributes, fileName }: Entry): { type: number; permissions: number | undefined } {
  const mode = externalFileAttributes >>> 16;
  const type = mode & fileTypeMask;
  const fallback = fileName.endsWith('/') ? types.directory : types.regular;
  return { type: type === 0 ? fallback : type, permissions: (mode & 0o777) === 0 ? undefined : mode & 0o777 };
}

function archiveError(error: unknown, entry?: Entry): ArchiveError {
  const reason = error instanceof Error ? error.message : String(error);
  return new ArchiveError(entry ? `${entry.fileName}: ${reason}` : reason, { cause: error });
}
