import type { ChildProcess } from 'node:child_process';
import { lstat } from 'node:fs/promises';
import { posix } from 'node:path';
import { finished, PassThrough, type Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { resolveBeneath } from '../../../files/beneath.js';
import type { ProcessIdentity } from '../../../process/identity.js';
import { lookUpAccount, rootOf } from '../users/container-files.js';
import { type ContainerShell, succeeded } from './container-shell.js';

export interface StreamInRequest {
  path: string;
  user?: string;
  tar: Readable;
}

export interface StreamOutRequest {
  path: string;
  user?: string;
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
   * Extracts at `path` as the user, who will own all files; modes go through umask 022.
   *
   * @throws UnknownUserError, or with tar's words
   */
  async in(init: ProcessIdentity, { path, user = 'root', tar }: StreamInRequest): Promise<void> {
    // The sender may break off before anybody looks; `feed` will see it.
    tar.on('error', () => {});
    try {
      const account = await lookUpAccount(init, user);
      const destination = posix.resolve(account.home, path);
      await this.#shell.makeDirectory(init, account, destination);
      const applet = ['tar', '-x', '-f', '-', '--no-same-permissions', '-o', '-C', destination];
      const child = this.#track(this.#shell.spawn(init, account, applet, ['pipe', 'ignore', 'pipe']));
      await Promise.all([succeeded(child, `error streaming in to ${path}`), feed(tar, child)]);
    } finally {
      // What follows the end of the archive, or an error, is read and dropped: the sender waits for it.
      tar.resume();
    }
  }

  /**
   * Archives `path` as the user. With a trailing slash the entries are `./...`, else they begin with its last component.
   * A failure after the first byte destroys the stream with an error.
   *
   * @throws UnknownUserError, NoSuchPathError
   */
  async out(init: ProcessIdentity, { path, user = 'root' }: StreamOutRequest): Promise<Readable> {
    const account = await lookUpAccount(init, user);
    const source = posix.resolve(account.home, path);
    await this.#expectPath(init, source, path);
    const [directory, entry] = path.endsWith('/') || source === '/' ? [source, '.'] : splitLast(source);
    const applet = ['tar', '-c', '-f', '-', '-C', directory, '--', entry];
    const child = this.#track(this.#shell.spawn(init, account, applet, ['ignore', 'pipe', 'pipe']));
    return outputOf(child, `error streaming out ${path}`);
  }

  async #expectPath(init: ProcessIdentity, source: string, path: string): Promise<void> {
    const root = rootOf(init);
    try {
      const parent = await resolveBeneath(root, posix.dirname(source));
      const resolved = path.endsWith('/')
        ? await resolveBeneath(root, source)
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
function feed(tar: Readable, child: ChildProcess): Promise<void> {
  const input = child.stdin!;
  return new Promise((resolve, reject) => {
    finished(tar, { writable: false }, (error) => {
      if (!error) return;
      child.kill('SIGKILL');
      reject(error);
    });
    finished(input, () => resolve());
    tar.pipe(input);
  });
}

/** The child's output, which ends only after the child has ended well. */
function outputOf(child: ChildProcess, what: string): Readable {
  const output = new PassThrough();
  const ended = succeeded(child, what);
  pipeline(child.stdout!, output, { end: false })
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
