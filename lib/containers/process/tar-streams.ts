import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, stat } from 'node:fs/promises';
import { basename, dirname } from 'node:path';
import { finished, PassThrough, type Readable } from 'node:stream';

/** Statuses of tar(1): 1 tells of files that changed while they were read, which is no fault of a running app's files. */
const changedWhileReading = 1;

/** Tar archives in and out of directories of the host. Owns the tar processes that it starts. */
export class TarStreams {
  private readonly children = new Set<ChildProcess>();

  /**
   * Extracts an archive in a directory, which is made when it is missing. Files belong to the engine's own user.
   * @throws with tar's words for an archive that is broken or cut short
   */
  async extract(archive: Readable, directory: string): Promise<void> {
    await mkdir(directory, { recursive: true });
    const options = ['--extract', '--no-same-owner', '--no-same-permissions', '--file=-'];
    const child = this.start([...options, `--directory=${directory}`], ['pipe', 'ignore', 'pipe']);
    const result = resultOf(child);
    // tar ends with the archive's end mark and does not wait for what may follow.
    child.stdin!.on('error', () => {});
    let cause: unknown;
    // A source that breaks off must not look like the end of an archive.
    finished(archive, { writable: false }, (error) => {
      if (!error) return;
      cause = error;
      child.kill('SIGKILL');
    });
    archive.pipe(child.stdin!);
    const { status, errors } = await result;
    // The sender waits until the rest is taken, too. Streams of other making, tar-stream's, have no `unpipe`.
    archive.unpipe?.(child.stdin!);
    archive.resume();
    if (status !== 0) throw new Error(`error streaming in: ${errors || 'the archive broke off'}`, { cause });
  }

  /**
   * An archive of what is at `path`: as `name/...`, or as `./...` when only the content is wanted.
   * @throws when there is nothing; reading fails when tar does
   */
  async archive(options: { path: string; name: string; isContentOnly: boolean }): Promise<Readable> {
    const { path, name, isContentOnly } = options;
    await stat(path);
    const args = isContentOnly ? [`--directory=${path}`, '.'] : [...renaming(path, name), basename(path)];
    const child = this.start(['--create', '--file=-', ...args], ['ignore', 'pipe', 'pipe']);
    const output = new PassThrough();
    // A reader that goes away ends tar by SIGPIPE.
    output.once('close', () => child.stdout!.destroy());
    child.stdout!.on('error', (error) => output.destroy(error));
    child.stdout!.pipe(output, { end: false });
    const result = resultOf(child);
    result.then(
      ({ status, errors }) => {
        if (status === 0 || status === changedWhileReading) output.end();
        else output.destroy(new Error(`error streaming out: ${errors || `tar ended with status ${status}`}`));
      },
      (error: unknown) => output.destroy(error as Error),
    );
    return output;
  }

  /** Ends all streams under way. */
  stop(): void {
    for (const child of this.children) child.kill('SIGKILL');
  }

  private start(args: string[], stdio: ('pipe' | 'ignore')[]): ChildProcess {
    const child = spawn('tar', args, { stdio: stdio as ['pipe' | 'ignore', 'pipe' | 'ignore', 'pipe'] });
    this.children.add(child);
    child.once('close', () => this.children.delete(child));
    child.once('error', () => this.children.delete(child));
    return child;
  }
}

/** What is packed bears the name it was asked for by, also where that is a link to something of another name. */
function renaming(path: string, name: string): string[] {
  const directory = `--directory=${dirname(path)}`;
  if (basename(path) === name) return [directory];
  const quote = (text: string) => text.replace(/[\\&,.*[\]^$]/g, '\\$&');
  return [directory, `--transform=flags=rSH;s,^${quote(basename(path))},${quote(name)},`];
}

async function resultOf(child: ChildProcess): Promise<{ status: number | null; errors: string }> {
  const errors: Buffer[] = [];
  child.stderr!.on('data', (chunk: Buffer) => errors.push(chunk));
  const [status] = (await once(child, 'close')) as [number | null];
  return { status, errors: Buffer.concat(errors).toString().trim() };
}
