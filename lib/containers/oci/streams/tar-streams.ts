import type { ChildProcess } from 'node:child_process';
import { lstat } from 'node:fs/promises';
import { posix } from 'node:path';
import { finished, PassThrough, Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { resolveBeneath } from '../../../files/beneath.js';
import type { ProcessIdentity } from '../../../process/identity.js';
import { EngineError } from '../../errors.js';
import { toolboxPathInContainer } from '../runtime/bundle-mounts.js';
import type { Account } from '../users/accounts.js';
import { lookUpAccount, rootOf } from '../users/container-files.js';
import { type FileAttributes, withAttributes } from './attributed-archive.js';
import { type ContainerShell, succeeded } from './container-shell.js';
import { type EntryAttributes, TarNormalizer } from './tar-normalizer.js';

export interface StreamInRequest {
  path: string;
  user?: string;
  tar: Readable;
}

export interface StreamOutRequest {
  path: string;
  user?: string;
}

/** The extractor goes on after a device that it may not make, and ends well. */
const lostNode = /can't create node/;

/** Gives files the extended attributes that came with them. */
export type SetAttributes = (request: {
  account: Account;
  /** Where the archive was extracted. */
  directory: string;
  entries: EntryAttributes[];
}) => Promise<void>;

/** Tells the extended attributes of files that go out. */
export type TellAttributes = (request: {
  account: Account;
  directory: string;
  entry: string;
}) => Promise<FileAttributes>;

/** Files could not be streamed in; the text is that of upstream. */
export class StreamInError extends EngineError {
  constructor(reason: string, options?: ErrorOptions) {
    super(`stream-in: nstar: error streaming in: ${reason}`);
    this.cause = options?.cause;
  }
}

/** A path to stream out does not exist in the container. */
export class NoSuchPathError extends Error {}

/** Files in and out of living containers as tar streams (docs/protocol/containers.md §3.4). */
export class TarStreams {
  readonly #shell: ContainerShell;
  readonly #children = new Set<ChildProcess>();

  constructor(options: { shell: ContainerShell }) {
    this.#shell = options.shell;
  }

  /** Ends transfers that are under way. Idempotent. */
  stop(): void {
    for (const child of this.#children) child.kill('SIGKILL');
  }

  /**
   * Extracts at `path` as the user, who will own all files; modes go through umask 022 and lend nobody's rights. What
   * follows the end of the archive is read and dropped.
   *
   * @param setAttributes is told of extended attributes that the archive has, after the files are there
   * @throws StreamInError with tar's words, or with UnknownUserError as its cause
   */
  async in(init: ProcessIdentity, request: StreamInRequest, setAttributes: SetAttributes): Promise<void> {
    const { tar } = request;
    // The sender may break off before anybody looks; `feed` will see it.
    tar.on('error', () => {});
    try {
      await this.#extract(init, request, setAttributes);
    } catch (cause) {
      throw new StreamInError((cause as Error).message, { cause });
    } finally {
      // What follows the end of the archive, or an error, is read and dropped: the sender waits for it.
      tar.resume();
    }
  }

  async #extract(
    init: ProcessIdentity,
    { path, user, tar }: StreamInRequest,
    setAttributes: SetAttributes,
  ): Promise<void> {
    if (path === '') throw new Error('no destination');
    const account = await lookUpAccount(init, user || 'root');
    const destination = posix.resolve(account.home, path);
    await expectNoDanglingLink(init, destination);
    const directory = await this.#shell.makeDirectory(init, account, destination);
    const extraction = ['tar', '-x', '-f', '-', '--no-same-permissions', '-o', '-C', directory];
    const applet = ['sh', '-c', 'umask 022; exec "$0" "$@"', toolboxPathInContainer, ...extraction];
    const child = this.#track(this.#shell.spawn(init, account, applet, ['pipe', 'ignore', 'pipe']));
    const normalizer = new TarNormalizer();
    await Promise.all([succeeded(child, path, lostNode), feed(tar, normalizer, child)]);
    await setAttributes({ account, directory, entries: normalizer.entryAttributes });
  }

  /**
   * Archives `path` as the user; without one, the content of the user's home. With a trailing slash the entries are `./...`, else they begin with its last component.
   * A failure after the first byte destroys the stream with an error.
   *
   * @param tellAttributes asked for extended attributes of what goes out
   * @throws UnknownUserError, NoSuchPathError
   */
  async out(
    init: ProcessIdentity,
    { path, user }: StreamOutRequest,
    tellAttributes: TellAttributes,
  ): Promise<Readable> {
    const account = await lookUpAccount(init, user || 'root');
    const source = posix.resolve(account.home, path);
    await this.#expectPath(init, source, path);
    const [directory, entry] = path === '' || path.endsWith('/') || source === '/' ? [source, '.'] : splitLast(source);
    const attributes = await tellAttributes({ account, directory, entry });
    const applet = ['tar', '-c', '-f', '-', '-C', directory, '--', entry];
    const child = this.#track(this.#shell.spawn(init, account, applet, ['ignore', 'pipe', 'pipe']));
    return outputOf(child, attributes, `error streaming out ${path}`);
  }

  async #expectPath(init: ProcessIdentity, source: string, path: string): Promise<void> {
    const root = rootOf(init);
    try {
      const parent = await resolveBeneath(root, posix.dirname(source), 'stays');
      const resolved = path.endsWith('/')
        ? await resolveBeneath(root, source, 'stays')
        : posix.join(parent, posix.basename(source));
      await lstat(resolved);
    } catch (cause) {
      throw new NoSuchPathError(`error streaming out ${path}: no such file or directory`, { cause });
    }
  }

  #track(child: ChildProcess): ChildProcess {
    this.#children.add(child);
    child.on('close', () => this.#children.delete(child));
    return child;
  }
}

/**
 * Copies the archive to the extracting child, whose end is judged by its own status: one that has seen the archive's
 * end closes its input early. A sender that breaks off ends the child.
 */
function feed(tar: Readable, normalizer: TarNormalizer, child: ChildProcess): Promise<void> {
  const input = child.stdin!;
  return new Promise((resolve, reject) => {
    finished(tar, { writable: false }, (error) => {
      if (!error) return;
      child.kill('SIGKILL');
      reject(error);
    });
    finished(input, () => {
      normalizer.destroy();
      resolve();
    });
    tar.pipe(normalizer).pipe(input);
  });
}

/** A link to nowhere is not taken for the place that it names. */
async function expectNoDanglingLink(init: ProcessIdentity, path: string): Promise<void> {
  const root = rootOf(init);
  const place = posix.join(await resolveBeneath(root, posix.dirname(path), 'stays'), posix.basename(path));
  const status = await lstat(place).catch(() => undefined);
  if (!status?.isSymbolicLink()) return;
  await lstat(await resolveBeneath(root, path, 'stays')).catch((cause: unknown) => {
    throw new Error(`${path}: no such file or directory`, { cause });
  });
}

/** The child's output, which ends only after the child has ended well. */
function outputOf(child: ChildProcess, attributes: FileAttributes, what: string): Readable {
  const output = new PassThrough();
  const ended = succeeded(child, what);
  const archive = attributes.size === 0 ? child.stdout! : Readable.from(withAttributes(child.stdout!, attributes));
  pipeline(archive, output, { end: false })
    .then(() => ended)
    .then(
      () => output.end(),
      (error: Error) => output.destroy(error),
    );
  ended.catch(() => {});
  output.on('close', () => child.kill('SIGKILL'));
  return output;
}

function splitLast(path: string): [string, string] {
  return [posix.dirname(path), posix.basename(path)];
}
