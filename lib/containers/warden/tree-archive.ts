import { type ChildProcess, spawn } from 'node:child_process';
import { mkdir } from 'node:fs/promises';
import { posix } from 'node:path';
import { PassThrough, Readable, type Writable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { extract, type Header, pack } from 'tar-stream';

/** An archive holds what does not belong into one that is to be unpacked on the host. */
export class UnsafeArchiveError extends Error {}

/** What rsync copies without being told to copy devices; the same on either side. */
const copiedTypes = ['(', '-type', 'f', '-o', '-type', 'd', '-o', '-type', 'l', ')'];
const keptEntryTypes = new Set<Header['type']>(['file', 'contiguous-file', 'directory', 'symlink', 'link']);
/** Neither set-user-id nor set-group-id: they would come to mean something else on the other side. */
const keptModeBits = 0o1777;
/** GNU tar: a file changed while it was read. */
const changedStatus = 1;
const longestComplaint = 4096;

/** Archive of what is in a directory; entries are `./...`. Fails by destroying the stream with an error. */
export function packDirectory(directory: string): Readable {
  return packFound(directory, '.', []);
}

/**
 * Archive of a file, symbolic link or directory itself, under its own name or, for a file, another. Hard links become
 * files of their own, devices and the like are left out.
 */
export function packEntry(path: string, options: { as?: string } = {}): Readable {
  const name = `./${posix.basename(path)}`;
  const transform =
    options.as === undefined
      ? 's,^\\./,,SH'
      : `s,^.*$,${options.as.replace(/[\\,&]/g, '\\$&').replace(/\n/g, '\\n')},SH`;
  return packFound(posix.dirname(path), name, [`--transform=${transform}`]);
}

/** Where the first entry of an archive decides that all of them go. */
export interface Placement {
  /** Made when missing. */
  directory: string;
  /** Another name for the one entry. */
  name?: string;
}

/**
 * Unpacks an archive that came from a container: its entries cannot leave the directory, special files are left out,
 * modes are kept except for set-id bits, and everything belongs to the server's own user.
 *
 * @param place told whether the first entry is a directory
 * @throws UnsafeArchiveError; or when the archive ends early or is none
 */
export async function unpack(
  archive: Readable,
  place: (first: { isDirectory: boolean }) => Promise<Placement>,
): Promise<void> {
  const extraction = extract();
  const feeding = pipeline(archive, extraction);
  feeding.catch(() => {});
  let unpacking: Unpacking | undefined;
  try {
    for await (const entry of extraction) {
      unpacking ??= await Unpacking.begin(await place({ isDirectory: entry.header.type === 'directory' }));
      await unpacking.add(entry.header, entry as unknown as Readable);
    }
    await feeding;
    if (!unpacking) throw new UnsafeArchiveError('the archive is empty');
    await unpacking.end();
  } catch (error) {
    unpacking?.abandon();
    archive.destroy();
    throw error;
  }
}

/** Entries on their way through a filter into `tar` on the host. */
class Unpacking {
  readonly #placement: Placement;
  readonly #child: ChildProcess;
  readonly #ended: Promise<void>;
  readonly #feeding: Promise<void>;
  readonly #pack = pack();

  private constructor(placement: Placement) {
    this.#placement = placement;
    const options = ['--no-same-owner', '--same-permissions', '--delay-directory-restore', '--unlink-first'];
    this.#child = spawn('tar', ['-x', '-f', '-', ...options, '-C', placement.directory], {
      stdio: ['pipe', 'ignore', 'pipe'],
      env: { PATH: process.env.PATH, LC_ALL: 'C' },
    });
    this.#ended = succeeded(this.#child, 'cannot unpack');
    // Why tar stopped reading is told by its end.
    this.#feeding = pipeline(Readable.from(this.#pack), this.#child.stdin!).catch(() => {});
    this.#ended.catch((error: Error) => this.#pack.destroy(error));
  }

  static async begin(placement: Placement): Promise<Unpacking> {
    await mkdir(placement.directory, { recursive: true });
    return new Unpacking(placement);
  }

  async add(header: Header, content: Readable): Promise<void> {
    if (!keptEntryTypes.has(header.type)) {
      content.resume();
      return;
    }
    expectInside(header.name);
    if (header.type === 'link') expectInside(header.linkname ?? '');
    const { name = header.name } = this.#placement;
    const mode = (header.mode ?? 0o644) & keptModeBits;
    const sink = this.#pack.entry({ ...header, name, mode, uid: 0, gid: 0, pax: null } as Header);
    await pipeline(content, sink as unknown as Writable);
  }

  async end(): Promise<void> {
    this.#pack.finalize();
    await this.#feeding;
    await this.#ended;
  }

  abandon(): void {
    this.#child.kill('SIGKILL');
    this.#pack.destroy();
  }
}

function packFound(directory: string, start: string, tarOptions: string[]): Readable {
  const env = { PATH: process.env.PATH, LC_ALL: 'C' };
  const options = { cwd: directory, env };
  const find = spawn('find', [start, ...copiedTypes, '-print0'], { ...options, stdio: ['ignore', 'pipe', 'pipe'] });
  const selection = ['--no-recursion', '--null', '--files-from=-', '--hard-dereference', '--numeric-owner'];
  const tar = spawn('tar', ['-c', '-f', '-', '--format=gnu', ...selection, ...tarOptions], {
    ...options,
    stdio: ['pipe', 'pipe', 'pipe'],
  });
  const what = `cannot pack ${posix.join(directory, start)}`;
  const ended = Promise.all([succeeded(find, what), succeeded(tar, what, [0, changedStatus])]);
  ended.catch(() => {});
  pipeline(find.stdout!, tar.stdin!).catch(() => {});
  const output = new PassThrough();
  pipeline(tar.stdout!, output, { end: false })
    .then(() => ended)
    .then(
      () => output.end(),
      (error: Error) => output.destroy(error),
    );
  output.on('close', () => {
    for (const child of [find, tar]) child.kill('SIGKILL');
  });
  return output;
}

/** Resolves when a child ended well. @throws with what it said on its error output */
function succeeded(child: ChildProcess, what: string, goodStatuses = [0]): Promise<void> {
  return new Promise((resolve, reject) => {
    let complaint = '';
    child.stderr?.on('data', (piece: Buffer) => {
      if (complaint.length < longestComplaint) complaint += piece.toString();
    });
    child.on('error', (cause) => reject(new Error(`${what}: ${cause.message}`, { cause })));
    child.on('close', (code, signal) => {
      if (code !== null && goodStatuses.includes(code)) resolve();
      else reject(new Error(`${what}: ${complaint.trim() || (signal ? `ended by ${signal}` : `exit status ${code}`)}`));
    });
  });
}

function expectInside(name: string): void {
  if (!name.startsWith('/') && !name.split('/').includes('..')) return;
  throw new UnsafeArchiveError(`the archive has an entry outside of it: ${JSON.stringify(name)}`);
}
