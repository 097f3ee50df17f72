import { type FileHandle, open, stat } from 'node:fs/promises';
import type { Writable } from 'node:stream';
import type { ChangeSignal } from './change-signal.js';
import { type FollowStart, type LogPosition, logIdentity } from './delivery.js';
import { type OutputChunk, type OutputName, ProcessLogParser } from './process-log.js';

export interface OutputFollowerOptions {
  /** The process's log; may be replaced by a new file of that name when it is full. */
  path: string;
  from: FollowStart;
  /** Fires after the log has grown, the process has ended or `signal` was aborted. */
  changes: ChangeSignal;
  /** True once nothing will be added to the log. */
  isComplete: () => boolean;
  stdout?: Writable | undefined;
  stderr?: Writable | undefined;
  /** Called when the log was opened, or cannot be: it may be removed now, and is still read to its end. */
  onOpened: () => void;
  /** Called when a stream has taken everything up to there. */
  onDelivered: (output: OutputName, position: LogPosition) => void;
  /** Called once per stream: when it is gone, or at the end. */
  onReleased: (output: OutputName) => void;
  /** Gives up following. */
  signal: AbortSignal;
}

const pieceLength = 64 * 1024;

/**
 * Hands a process's output, from the given start to the last byte, to the streams of one who attached, at the pace of
 * those streams. The streams are not ended. Resolves when the process has ended and everything was handed over, or when
 * both streams are gone.
 */
export async function followOutput(options: OutputFollowerOptions): Promise<void> {
  const { path, from, changes, signal } = options;
  const sinks = new Sinks(options);
  const piece = Buffer.allocUnsafe(pieceLength);
  let log: OpenLog | undefined;
  try {
    log = await OpenLog.open(path, from).finally(options.onOpened);
    while (sinks.areOpen && !signal.aborted) {
      const { version } = changes;
      const wasComplete = options.isComplete();
      if (await log.handOver(piece, sinks)) continue;
      const successor = await openSuccessor(path, log.file);
      if (successor !== undefined) {
        // What came between the last read and the replacement is still in the old file.
        if (await log.handOver(piece, sinks)) {
          await successor.close();
          continue;
        }
        await log.file.close();
        log = new OpenLog(successor);
        continue;
      }
      if (wasComplete) return;
      await changes.changedSince(version);
    }
  } finally {
    sinks.release();
    await log?.file.close();
  }
}

/** A log file that is being read. */
class OpenLog {
  readonly file: FileHandle;
  readonly #parser: ProcessLogParser;
  #offset: number;
  #identity = '';

  constructor(file: FileHandle, from?: FollowStart) {
    this.file = file;
    // What is said about the place concerns one file only; a later one is read from its beginning.
    const start = from !== undefined && from.log === this.identity ? from : { offset: 0 };
    this.#offset = start.offset;
    this.#parser = new ProcessLogParser(start);
  }

  static async open(path: string, from: FollowStart): Promise<OpenLog> {
    return new OpenLog(await open(path, 'r'), from);
  }

  /** Known from its first record on. */
  get identity(): string {
    if (this.#identity === '') this.#identity = logIdentity(this.file.fd);
    return this.#identity;
  }

  /** Reads on and gives what it finds to the streams; false when there is nothing more. */
  async handOver(piece: Buffer, sinks: Sinks): Promise<boolean> {
    const { bytesRead } = await this.file.read(piece, 0, piece.length, this.#offset);
    if (bytesRead === 0) return false;
    this.#offset += bytesRead;
    for (const chunk of this.#parser.push(Buffer.from(piece.subarray(0, bytesRead)))) {
      await sinks.write(chunk, this.identity);
    }
    return true;
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
  readonly #options: OutputFollowerOptions;
  readonly #releases: (() => void)[] = [];

  constructor(options: OutputFollowerOptions) {
    this.#options = options;
    if (options.stdout) this.#add('stdout', options.stdout);
    if (options.stderr) this.#add('stderr', options.stderr);
  }

  get areOpen(): boolean {
    return this.#sinks.size > 0;
  }

  async write({ output, data, end }: OutputChunk, log: string): Promise<void> {
    const sink = this.#sinks.get(output);
    const { signal } = this.#options;
    if (sink === undefined || signal.aborted) return;
    if (sink.destroyed || sink.writableEnded) {
      this.#forget(output);
      return;
    }
    const accept = () => this.#options.onDelivered(output, { log, offset: end });
    const goesOn = sink.write(data, (error) => {
      if (!error) accept();
    });
    // Taken by now; waiting for the callback would leave more time in which a killed engine forgets that.
    if (sink.writableLength === 0 && !sink.errored) accept();
    if (!goesOn) await drained(sink, signal);
  }

  /** Takes the listeners off the streams again. */
  release(): void {
    for (const release of this.#releases) release();
    for (const output of [...this.#sinks.keys()]) this.#forget(output);
  }

  /** Its owner hears of an error, too; here it only must not go unheard and end the program. */
  #add(output: OutputName, sink: Writable): void {
    this.#sinks.set(output, sink);
    const forget = () => this.#forget(output);
    sink.on('error', forget).on('close', forget);
    this.#releases.push(() => sink.off('error', forget).off('close', forget));
  }

  #forget(output: OutputName): void {
    if (!this.#sinks.delete(output)) return;
    this.#options.onReleased(output);
    // The follower may be waiting for output that nobody wants any more.
    this.#options.changes.notify();
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
