import { type ChildProcess, spawn } from 'node:child_process';
import { pipeline } from 'node:stream/promises';
import { HostRequirementError } from '../../errors.js';

/** A program of the host through which data streams. */
export interface StreamedProgram {
  /** Brings it. */
  debianPackage: string;
  program: string;
  args: string[];
}

/** A program ended badly; the text is what it said. */
export class ProgramError extends Error {}

/** Of what a program complains about, the beginning tells the cause. */
const mostComplaintCharacters = 2_000;

/**
 * What a program makes of a source, or of nothing. The program ends with the iteration at the latest.
 *
 * @throws the source's error, ProgramError, HostRequirementError when the program is missing
 */
export async function* throughProgram(
  description: StreamedProgram,
  source?: AsyncIterable<Buffer>,
): AsyncGenerator<Buffer> {
  const { child, ended } = start(description, [source ? 'pipe' : 'ignore', 'pipe', 'pipe']);
  const fed = source ? feed(child, source) : Promise.resolve(undefined);
  try {
    yield* child.stdout as AsyncIterable<Buffer>;
    await settle(fed, ended);
  } finally {
    child.kill('SIGKILL');
    await ended.catch(() => {});
  }
}

/**
 * Feeds a source into a program and waits for its end.
 *
 * @throws the source's error, ProgramError, HostRequirementError when the program is missing
 */
export async function intoProgram(description: StreamedProgram, source: AsyncIterable<Buffer>): Promise<void> {
  const { child, ended } = start(description, ['pipe', 'ignore', 'pipe']);
  await settle(feed(child, source), ended);
}

function start(
  { debianPackage, program, args }: StreamedProgram,
  stdio: ('pipe' | 'ignore')[],
): { child: ChildProcess; ended: Promise<void> } {
  // No variable such as TAR_OPTIONS may change what is done; messages are in English.
  const child = spawn(program, args, { stdio, env: { PATH: process.env.PATH, LC_ALL: 'C' } });
  const ended = new Promise<void>((resolve, reject) => {
    let complaint = '';
    child.stderr?.on('data', (piece: Buffer) => {
      if (complaint.length < mostComplaintCharacters) complaint += piece.toString();
    });
    child.on('error', (cause: NodeJS.ErrnoException) => {
      const isMissing = cause.code === 'ENOENT';
      reject(
        isMissing
          ? new HostRequirementError(`${program} is missing: apt-get install ${debianPackage}`, { cause })
          : cause,
      );
    });
    child.on('close', (code, signal) => {
      if (code === 0) resolve();
      else reject(new ProgramError(shorten(complaint) || `${program} ended with ${signal ?? `status ${code}`}`));
    });
  });
  ended.catch(() => {});
  return { child, ended };
}

/** Gives the source's failure; a program that ends early is judged by its own status. */
async function feed(child: ChildProcess, source: AsyncIterable<Buffer>): Promise<unknown> {
  try {
    await pipeline(source, child.stdin!);
    return undefined;
  } catch (error) {
    if (child.stdin!.errored === error && isBrokenPipe(error)) return undefined;
    // What is half read must not look whole.
    child.kill('SIGKILL');
    return error;
  }
}

async function settle(fed: Promise<unknown>, ended: Promise<void>): Promise<void> {
  const [failure, end] = await Promise.allSettled([fed, ended]);
  if (failure.status === 'fulfilled' && failure.value !== undefined) throw failure.value;
  if (end.status === 'rejected') throw end.reason;
}

function isBrokenPipe(error: unknown): boolean {
  const { code } = error as NodeJS.ErrnoException;
  return code === 'EPIPE' || code === 'ERR_STREAM_PREMATURE_CLOSE' || code === 'ECONNRESET';
}

function shorten(complaint: string): string {
  const text = complaint.trim();
  return text.length > mostComplaintCharacters ? `${text.slice(0, mostComplaintCharacters)}...` : text;
}
