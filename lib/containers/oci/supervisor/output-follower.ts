import { type FileHandle, open, stat } from 'node:fs/promises';
import type { Writable } from 'node:stream';
import type { ChangeSignal } from './change-signal.js';
import { type OutputName, ProcessLogParser } from './process-log.js';

export interface OutputFollowerOptions {
  /** The process's log; may be replaced by a new file of that name when it is full. */
  path: string;
  /** Fires after the log has grown, the process has ended or `signal` was aborted. */
  changes: ChangeSignal;
  /** True once nothing will be added to the log. */
  isComplete: () => boolean;
  stdout?: Writable | undefined;
  stderr?: Writable | undefined;
  /** Gives up following. */
  signal: AbortSignal;
}

const pieceLength = 64 * 1024;

/**
 * Hands all of a process's output, from the oldest that is kept to the last byte, to the streams of one who attached,
 * at the pace of those streams. The streams are not ended. Resolves when the process has ended and everything was
 * handed over, or when both streams are gone.
 */
export async function followOutput(options: OutputFollowerOptions): Promise<void> {
  const sinks = new Sinks(options.stdout, options.stderr);
  const parser = new ProcessLogParser();
  const piece = Buffer.allocUnsafe(pieceLength);
  let log = await open(options.path, 'r');
  try {
    while (sinks.areOpen && !options.signal.aborted) {
      const { version } = options.changes;
      const wasComplete = options.isComplete();
      const { bytesRead } = await log.read(piece, 0, pieceLength);
      if (bytesRead > 0) {
        for (const { output, data } of parser.push(Buffer.from(piece.subarray(0, bytesRead)))) {
          await sinks.write(output, data, options.signal);
        }
        continue;
      }
      const successor = await openSuccessor(options.path, log);
      if (successor !== undefined) {
        // What came between the last read and the replacement is still in the old file.
        const remainder = await log.read(piece, 0, pieceLength);
        if (remainder.bytesRead > 0) {
          await successor.close();
          for (const { output, data } of parser.push(Buffer.from(piece.subarray(0, remainder.bytesRead)))) {
            await sinks.write(output, data, options.signal);
          }
          continue;
        }
        await log.close();
        log = successor;
        parser.reset();
        continue;
      }
      if (wasComplete) return;
      await options.changes.changedSince(version);
    }
  } finally {
    sinks.release();
    await log.close();
  }
}

/** The file that took the log's name, when it is not the open one. */
async function openSuccessor(path: string, log: FileHandle): Promise<FileHandle | undefined> {
  const [current, named] = await Promise.all([log.stat(), stat(path).catch(() => undefined)]);
  if (named === undefined || named.ino === current.ino) return undefined;
  return open(path, 'r');
}

/** The streams of one who attached; a stream that fails or closes is left out from then on. */
class Sinks {
  readonly #sinks = new Map<OutputName, Writable>();
  readonly #releases: (() => void)[] = [];

  constructor(stdout: Writable | undefined, stderr: Writable | undefined) {
    if (stdout) this.#add('stdout', stdout);
    if (stderr) this.#add('stderr', stderr);
  }

  get areOpen(): boolean {
    return this.#sinks.size > 0;
  }

  async write(output: OutputName, data: Buffer, signal: AbortSignal): Promise<void> {
    const sink = this.#sinks.get(output);
    if (sink === undefined || signal.aborted) return;
    if (sink.destroyed || sink.writableEnded) {
      this.#sinks.delete(output);
      return;
    }
    if (sink.write(data)) return;
    await drained(sink, signal);
  }

  /** Takes the listeners off the streams again. */
  release(): void {
    for (const release of this.#releases) release();
  }

  /** Its owner hears of an error, too; here it only must not go unheard and end the program. */
  #add(output: OutputName, sink: Writable): void {
    this.#sinks.set(output, sink);
    const forget = () => this.#sinks.delete(output);
    sink.on('error', forget).on('close', forget);
    this.#releases.push(() => sink.off('error', forget).off('close', forget));
  }
}

/** Resolves when the stream takes more, or never will, or nobody cares any more. */
function drained(sink: Writable, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const events = ['drain', 'close', 'error', 'finish'];
    const settle = () => {
      for (const event of events) sink.off(event, settle);
      signal.removeEventListener('abort', settle);
      resolve();
    };
    for (const event of events) sink.on(event, settle);
    signal.addEventListener('abort', settle);
  });
}
