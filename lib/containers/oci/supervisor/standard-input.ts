import { type ChildProcess, spawn } from 'node:child_process';
import { Readable, type Writable } from 'node:stream';
import type { Launcher } from '../../../process/launcher.js';
import type { ProcessIO } from '../../engine.js';

export interface StandardInputOptions {
  launcher: Launcher;
  /** Absolute path of socat. */
  socat: string;
  /** Directory with conmon's `attach` socket. */
  processDirectory: string;
  /** A terminal has no end of input; who wants to tell one sends the character for it. */
  isTerminal: boolean;
}

/** What surely fits into the pipe to the process; more may wait for the process to read. */
const pipeCapacity = 64 * 1024;
/** What fits into a pipe is taken at once. */
const smallInputLimitMs = 30_000;
/** How long socat keeps the connection after its input's end: conmon must have taken all out of the socket. */
const lingerSeconds = { short: 1, unlimited: 365 * 24 * 3600 };

/**
 * The standard input of one process, fed by everyone who is attached and wants to. The process sees the end when the
 * last of them has ended. conmon takes it on a SEQPACKET socket, which Node.js cannot open: socat stands between.
 */
export class StandardInput {
  readonly #options: StandardInputOptions;
  #socat: ChildProcess | undefined;
  /** Those who have not ended. */
  readonly #sources = new Set<Readable>();
  #isClosed = false;

  constructor(options: StandardInputOptions) {
    this.#options = options;
  }

  /** Feeds one more source; after the end was given to the process it is only drained. */
  feed(source: NonNullable<ProcessIO['stdin']>): void {
    const isSmall = !(source instanceof Readable) && Buffer.byteLength(source) <= pipeCapacity;
    if (isSmall && this.#sources.size === 0 && !this.#isClosed && !this.#options.isTerminal) {
      this.#feedAtOnce(source);
      return;
    }
    const stream = source instanceof Readable ? source : Readable.from([Buffer.from(source)], { objectMode: false });
    if (this.#isClosed) {
      stream.on('error', () => {}).resume();
      return;
    }
    this.#sources.add(stream);
    // A process that ends without reading its input is judged by its exit status, not by the broken pipe.
    this.#pass(stream)
      .catch(() => {})
      .finally(() => this.#leave(stream));
  }

  /** The common case, and the quick one: a script that nobody else adds to. */
  #feedAtOnce(input: string | Buffer): void {
    this.#isClosed = true;
    const { launcher, socat, processDirectory } = this.#options;
    launcher
      .launch({
        program: socat,
        args: socatArguments(lingerSeconds.short),
        cwd: processDirectory,
        input,
        capturesStderr: false,
        timeoutMs: smallInputLimitMs,
      })
      // A process that ends without reading its input is judged by its exit status, not by the broken pipe.
      .catch(() => {});
  }

  /** Ends the connection; who has more to say need not. Idempotent. */
  close(): void {
    this.#isClosed = true;
    for (const source of this.#sources) source.destroy();
    this.#socat?.kill('SIGKILL');
  }

  async #pass(source: Readable): Promise<void> {
    for await (const part of source) {
      // Not before there is something to say: many a process has someone attached who never says anything.
      const target = this.#open();
      if (!target.write(part)) await drained(target);
    }
  }

  #leave(source: Readable): void {
    this.#sources.delete(source);
    if (this.#sources.size > 0 || this.#isClosed || this.#options.isTerminal) return;
    if (this.#socat?.stdin) {
      this.#isClosed = true;
      this.#socat.stdin.end();
    } else {
      this.#feedAtOnce('');
    }
  }

  #open(): Writable {
    if (this.#socat?.stdin) return this.#socat.stdin;
    // In its directory: a socket's path may have no more than 107 characters. Its output copy of what the process
    // writes goes nowhere, but must be taken, or conmon would wait for it.
    const socat = spawn(this.#options.socat, socatArguments(lingerSeconds.unlimited), {
      cwd: this.#options.processDirectory,
      stdio: ['pipe', 'ignore', 'ignore'],
    });
    socat.on('error', () => {});
    // Everyone who is attached listens to it.
    socat.stdin.setMaxListeners(0).on('error', () => {});
    this.#socat = socat;
    return socat.stdin;
  }
}

/** Resolves when the stream takes more, or never will. */
function drained(target: Writable): Promise<void> {
  if (target.destroyed) return Promise.resolve();
  return new Promise((resolve) => {
    const settle = () => {
      target.off('drain', settle).off('close', settle);
      resolve();
    };
    target.on('drain', settle).on('close', settle);
  });
}

function socatArguments(linger: number): string[] {
  return ['-t', String(linger), '-', 'UNIX-CONNECT:attach,socktype=5'];
}
