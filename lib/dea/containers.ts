import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { createWriteStream, statSync } from 'node:fs';
import { type FileHandle, mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { type Readable, Transform, Writable } from 'node:stream';
import { finished, pipeline } from 'node:stream/promises';
import type { BindMount, Container, ContainerEngine, ProcessSpec } from '../containers/engine.js';
import { EntityNotFoundError, NotServableError, type ServedEntry } from '../files/held-place.js';
import { Walk } from '../files/walk.js';
import type { DeaConfig } from './config.js';

/** The user that apps and buildpacks run as. */
export const appUser = 'vcap';

/** Name and values of the property that tells whose a container is and what it is for. */
export const ownerProperty = 'isthmus.owner';
export const kindProperty = 'isthmus.kind';
export const deaOwner = 'dea';

/** An error whose text is meant for the app's user. */
export class UserFacingError extends Error {}

/** A stack that the configuration does not have. */
export class UnknownStackError extends Error {
  constructor(name: string | null) {
    super(`Stack ${name ?? '(none)'} does not exist`);
  }
}

/** A script in a container ended with another status than 0. */
export class ScriptError extends Error {
  constructor(
    readonly exitStatus: number,
    readonly stderr: string,
  ) {
    super(`Script exited with status ${exitStatus}`);
  }
}

/** The root file system of a stack. @throws UnknownStackError */
export function stackRootfs(stacks: DeaConfig['stacks'], name: string | null): string {
  const stack = name === null ? stacks[0] : stacks.find((candidate) => candidate.name === name);
  if (!stack) throw new UnknownStackError(name);
  return stack.package_path;
}

/** The operator's own bind mounts, which every container gets. */
export function configuredBindMounts(config: DeaConfig): BindMount[] {
  return config.bind_mounts.map(({ src_path, dst_path, mode }) => ({
    source: src_path,
    destination: dst_path ?? src_path,
    mode,
  }));
}

/**
 * Host directory that is the root of a container whose directory is given; Wardens of upstream have it at a place of
 * their own (docs/protocol/dea.md §11.1).
 */
export function containerRoot(containerPath: string): string {
  const places = [join(containerPath, 'rootfs'), join(containerPath, 'tmp', 'rootfs')];
  const isDirectory = (path: string) => statSync(path, { throwIfNoEntry: false })?.isDirectory() === true;
  return places.find(isDirectory) ?? places[0]!;
}

/**
 * Where paths of a container lie. An engine without isolation has no root file system of its own for its processes,
 * so what would be `/tmp` in a container is a directory of the host there.
 */
export class ContainerPaths {
  private readonly prefix: string;

  constructor(
    engine: ContainerEngine,
    readonly rootDirectory: string,
  ) {
    this.prefix = engine.isolation === 'none' ? rootDirectory : '';
  }

  /** The path that a process in the container uses for `path`. */
  inside(path: string): string {
    return this.prefix + path;
  }
}

interface ScriptOptions extends Pick<ProcessSpec, 'user' | 'dir'> {
  /** Given the end of what the program has printed, whether it failed or not. */
  onOutput?: (output: { stdout: string; stderr: string }) => void;
}

/**
 * Runs a program to its end, without a shell.
 * @throws ScriptError when it fails
 */
export function runProgram(
  container: Container,
  program: string,
  args: string[],
  options: ScriptOptions = {},
): Promise<void> {
  const { onOutput, ...spec } = options;
  return runToEnd(container, { path: program, args, ...spec }, { onOutput });
}

/**
 * Runs a bash script that holds secrets to its end: it is given on standard input, so that it stands in no process
 * list (docs/adr/0004-scripts-on-standard-input.md).
 * @throws ScriptError when it fails
 */
export function runSecretScript(
  container: Container,
  script: string,
  options: Omit<ScriptOptions, 'onOutput'> = {},
): Promise<void> {
  return runToEnd(container, { path: 'bash', ...options }, { stdin: script });
}

/**
 * Runs a bash script that anybody may see to its end; faster than a secret one.
 * @throws ScriptError when it fails
 */
export function runScript(container: Container, script: string, options: ScriptOptions = {}): Promise<void> {
  return runProgram(container, 'bash', ['-c', script], options);
}

async function runToEnd(
  container: Container,
  spec: ProcessSpec,
  { stdin, onOutput }: { stdin?: string; onOutput?: ScriptOptions['onOutput'] },
): Promise<void> {
  const [stdout, stderr] = [new Tail(), new Tail()];
  const running = await container.run(spec, { stdout, stderr, ...(stdin !== undefined && { stdin }) });
  const exitStatus = await running.wait();
  onOutput?.({ stdout: stdout.text, stderr: stderr.text });
  if (exitStatus !== 0) throw new ScriptError(exitStatus, stderr.text);
}

/** Keeps the last part of what is written, for error messages. */
class Tail extends Writable {
  private static readonly limitBytes = 4096;
  private kept = Buffer.alloc(0);

  get text(): string {
    return this.kept.toString();
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: () => void): void {
    this.kept = Buffer.concat([this.kept, chunk]).subarray(-Tail.limitBytes);
    done();
  }
}

/** More than any file that the agent reads out of a container has. */
const largestContainerFile = 256 * 1024;

/**
 * Reads a small file of a container on the host; undefined when there is none, nor any other regular file. Links are
 * resolved in the container. Whoever owns the container may have put anything there, and change it meanwhile.
 * @throws RangeError when the file is larger than 256 KiB
 */
export async function readContainerFile(rootDirectory: string, path: string): Promise<string | undefined> {
  try {
    const { kind, handle } = await openInContainer(rootDirectory, path);
    try {
      return kind === 'file' ? await readBounded(handle, path) : undefined;
    } finally {
      await handle.close();
    }
  } catch (error) {
    if (error instanceof EntityNotFoundError || error instanceof NotServableError) return undefined;
    throw error;
  }
}

async function openInContainer(rootDirectory: string, path: string): Promise<ServedEntry> {
  const walk = await Walk.from(rootDirectory);
  try {
    await walk.go(path);
    return await walk.place.open();
  } finally {
    walk.close();
  }
}

async function readBounded(handle: FileHandle, path: string): Promise<string> {
  const { buffer, bytesRead } = await handle.read({ buffer: Buffer.alloc(largestContainerFile + 1), position: 0 });
  if (bytesRead > largestContainerFile) throw new RangeError(`${path} has more than ${largestContainerFile} bytes`);
  return buffer.toString('utf8', 0, bytesRead);
}

/**
 * Copies one file out of a container, read as the app's user.
 * @returns the SHA-1 of its bytes, hexadecimal
 */
export async function copyFileOut(container: Container, path: string, target: string): Promise<string> {
  const tar = await container.streamOut({ path, user: appUser });
  const extract = spawn('tar', ['-xO'], { stdio: ['pipe', 'pipe', 'ignore'] });
  const sha1 = createHash('sha1');
  const hashing = new Transform({
    transform(chunk: Buffer, _encoding, done) {
      sha1.update(chunk);
      done(null, chunk);
    },
  });
  await Promise.all([
    feed(tar, extract, 'tar -xO'),
    pipeline(extract.stdout, hashing, createWriteStream(target, { mode: 0o600 })),
  ]);
  return sha1.digest('hex');
}

/** Copies the content of a directory out of a container into a directory on the host. */
export async function copyDirectoryOut(container: Container, path: string, target: string): Promise<void> {
  await mkdir(target, { recursive: true });
  const tar = await container.streamOut({ path: join(path, '/'), user: 'root' });
  const args = ['-x', '--no-same-owner', '--no-same-permissions', '--no-overwrite-dir', '-C', target];
  const extract = spawn('tar', args, { stdio: ['pipe', 'ignore', 'ignore'] });
  await feed(tar, extract, 'tar -x');
}

/**
 * Has a child unpack an archive. It ends with the archive's end mark and does not wait for what may follow, so that it
 * closes its input early is no failure; but an archive that breaks off must not look like one that ends.
 * @throws the archive's error, or that the child failed
 */
async function feed(archive: Readable, child: ReturnType<typeof spawn>, name: string): Promise<void> {
  const stdin = child.stdin!;
  stdin.on('error', () => {});
  const wholeArchive = finished(archive, { writable: false });
  wholeArchive.catch(() => child.kill('SIGKILL'));
  archive.pipe(stdin);
  const [exitCode] = (await once(child, 'close')) as [number | null];
  archive.unpipe(stdin);
  const failure = exitCode === 0 ? undefined : new Error(`${name} ended with status ${exitCode}`);
  if (failure) archive.destroy(failure);
  else archive.resume();
  await wholeArchive;
  if (failure) throw failure;
}
