import { type FSWatcher, open as openFile, statSync, watch } from 'node:fs';
import { constants, open, rm, writeFile } from 'node:fs/promises';
import { Socket } from 'node:net';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { promisify } from 'node:util';
import { abortable } from '../../process/abortable.js';
import { runCommand } from '../../process/command.js';
import { isRunning, type ProcessIdentity, signalProcess } from '../../process/identity.js';
import { DeliveryCursor } from '../delivery-cursor.js';
import type { ContainerProcess, ProcessIO, ProcessSignal } from '../engine.js';
import { ChangeSignal, followOutput } from './output-follower.js';
import { files, type ProcessExit, readExit, readIdentity, startWrapped, type WrapperOptions } from './wrapper.js';

export interface StartOptions extends Omit<WrapperOptions, 'hasInput'> {
  id: string;
  io: ProcessIO;
}

type OutputName = 'stdout' | 'stderr';

/** A bare descriptor, which a socket takes over. */
const openDescriptor = promisify(openFile);
const watchdogMs = 1000;
/** A wrapper that has not written down its pid after so long was never started. */
const startLimitMs = 10_000;

/**
 * A process under its wrapper, told from the files in its directory alone: so one that an earlier engine started is
 * no different from one that this engine did.
 *
 *   (start) --> running --exit file--> ended
 *                  `--wrapper gone without one--> lost
 */
export class SupervisedProcess {
  /** Rejects when the exit can no longer be learnt; stays open when the engine stops before. */
  readonly exited: Promise<ProcessExit>;
  private settle!: { resolve(exit: ProcessExit): void; reject(error: Error): void };
  private isSettled = false;
  private readonly changes = new ChangeSignal();
  private readonly detach = new AbortController();
  private readonly watcher: FSWatcher;
  private readonly watchdog: NodeJS.Timeout;
  private readonly inputs = new Set<Socket>();
  private readonly cursors: Record<OutputName, DeliveryCursor>;
  /** How many follow each stream. */
  private readonly followers: Record<OutputName, number> = { stdout: 0, stderr: 0 };
  private readonly supervisedSinceMs = Date.now();
  private wrapperIdentity: ProcessIdentity | undefined;

  private constructor(
    readonly id: string,
    private readonly directory: string,
  ) {
    this.exited = new Promise((resolve, reject) => {
      this.settle = { resolve, reject };
    });
    // Whoever waits is told; that nobody does is no fault.
    this.exited.catch(() => {});
    const cursor = (output: OutputName) => new DeliveryCursor(join(directory, `delivered.${output}`));
    this.cursors = { stdout: cursor('stdout'), stderr: cursor('stderr') };
    this.watcher = watch(directory, () => this.look());
    this.watcher.on('error', () => {});
    this.watchdog = setInterval(() => this.look(), watchdogMs);
  }

  /** Starts a process in its directory, which exists and is empty. */
  static async start(options: StartOptions): Promise<SupervisedProcess> {
    const { id, directory, io, ...rest } = options;
    const stdinPath = join(directory, files.stdin);
    const isStream = io.stdin instanceof Readable;
    if (isStream) await runCommand('mkfifo', ['-m', '600', '--', stdinPath]);
    else if (io.stdin !== undefined) await writeFile(stdinPath, io.stdin as string | Buffer, { mode: 0o600 });
    // Held open for both ways, so that the wrapper need not wait for a writer.
    const gate = isStream ? await open(stdinPath, constants.O_RDWR | constants.O_NONBLOCK) : undefined;
    try {
      const child = await startWrapped({ ...rest, directory, hasInput: io.stdin !== undefined });
      const supervised = new SupervisedProcess(id, directory);
      child.once('exit', () => supervised.look());
      await supervised.lookForExit();
      // It may hold secrets, and whoever reads it has it open by now.
      if (!isStream) await rm(stdinPath, { force: true });
      if (isStream) await supervised.feed(io.stdin as Readable);
      return supervised;
    } finally {
      await gate?.close();
    }
  }

  /** Takes over a process that an earlier engine started. */
  static async recover(id: string, directory: string): Promise<SupervisedProcess> {
    const supervised = new SupervisedProcess(id, directory);
    await supervised.lookForExit();
    return supervised;
  }

  /** Whether the process has not ended, as far as is known. */
  get isAlive(): boolean {
    return !this.isSettled;
  }

  /** Whether this is the wrapper, which must live to tell of the exit, and is none of the container's processes. */
  isWrapper({ pid, startTime }: ProcessIdentity): boolean {
    return this.wrapperIdentity?.pid === pid && this.wrapperIdentity.startTime === startTime;
  }

  /** Connects streams to the process. */
  async join(io: ProcessIO): Promise<ContainerProcess> {
    const followers = [this.follow('stdout', io), this.follow('stderr', io)];
    // Looked at by `wait`; until then a failure must not count as nobody's.
    for (const follower of followers) follower.catch(() => {});
    return {
      id: this.id,
      wait: async ({ signal } = {}) => {
        const { status } = await abortable(this.exited, signal);
        await abortable(Promise.all(followers), signal);
        return status;
      },
      signal: (signal) => this.signal(signal),
      resize: (columns, rows) => this.resize(columns, rows),
    };
  }

  /** Writes to the process's standard input, when it was started with a stream and still reads; closes it at the end. */
  async feed(source: Readable): Promise<void> {
    try {
      const fd = await openDescriptor(join(this.directory, files.stdin), constants.O_WRONLY | constants.O_NONBLOCK);
      const socket = new Socket({ fd, readable: false, writable: true });
      this.inputs.add(socket);
      socket.on('error', () => source.unpipe(socket));
      socket.once('close', () => this.inputs.delete(socket));
      source.once('error', () => socket.destroy());
      source.pipe(socket);
    } catch (error) {
      // No reader (ENXIO): the process is gone or has closed its input. No file: it was started without a stream.
      const { code } = error as NodeJS.ErrnoException;
      if (code !== 'ENXIO' && code !== 'ENOENT') throw error;
    }
  }

  /** Stops following; the process lives on, for the next engine. Idempotent. */
  release(): void {
    this.detach.abort();
    this.finish();
  }

  private async follow(output: OutputName, io: ProcessIO): Promise<void> {
    const sink = io[output];
    if (!sink) return;
    const path = join(this.directory, files[output]);
    // Before anything is waited for: what the process writes from now on belongs to who attaches now.
    const offset = io.outputFrom === 'undelivered' ? this.firstUndelivered(output, path) : 0;
    this.followers[output] += 1;
    try {
      await followOutput({
        path,
        sink,
        offset,
        onDelivered: (end) => this.cursors[output].advance(end),
        changes: this.changes,
        isComplete: () => this.isSettled,
        signal: this.detach.signal,
      });
    } catch (error) {
      // Discarded output has no file.
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
    } finally {
      this.followers[output] -= 1;
    }
  }

  private firstUndelivered(output: OutputName, path: string): number {
    if (this.followers[output] === 0) return this.cursors[output].offset;
    return statSync(path, { throwIfNoEntry: false })?.size ?? 0;
  }

  private async signal(signal: ProcessSignal): Promise<void> {
    const identity = await readIdentity(this.directory, files.process);
    if (identity) signalProcess(identity, signal === 'kill' ? 'SIGKILL' : 'SIGTERM');
  }

  private async resize(columns: number, rows: number): Promise<void> {
    const identity = await this.runningIdentity();
    if (!identity) return;
    const size = ['rows', String(rows), 'cols', String(columns)];
    await runCommand('stty', ['-F', `/proc/${identity.pid}/fd/0`, ...size]);
  }

  private async runningIdentity(): Promise<ProcessIdentity | undefined> {
    const identity = await readIdentity(this.directory, files.process);
    return identity && isRunning(identity) ? identity : undefined;
  }

  private async learnWrapper(): Promise<void> {
    this.wrapperIdentity ??= await readIdentity(this.directory, files.wrapper);
  }

  /** Something may have changed. */
  private look(): void {
    if (this.isSettled || this.detach.signal.aborted) return;
    this.changes.notify();
    this.lookForExit().catch((error: unknown) => this.lose(error));
  }

  private async lookForExit(): Promise<void> {
    // Asked before the file is read: a wrapper found gone has written what it was ever going to write.
    const isSupervised = await this.isSupervised();
    const exit = await readExit(this.directory);
    if (exit) this.end(exit);
    else if (!isSupervised && !(await this.runningIdentity())) this.lose(undefined);
  }

  private async isSupervised(): Promise<boolean> {
    await this.learnWrapper();
    if (!this.wrapperIdentity) return Date.now() - this.supervisedSinceMs < startLimitMs;
    return isRunning(this.wrapperIdentity);
  }

  private end(exit: ProcessExit): void {
    if (this.isSettled) return;
    this.isSettled = true;
    this.finish();
    this.settle.resolve(exit);
  }

  private lose(cause: unknown): void {
    if (this.isSettled) return;
    this.isSettled = true;
    this.finish();
    this.settle.reject(new Error(`the exit status of process ${this.id} is lost`, { cause }));
  }

  private finish(): void {
    clearInterval(this.watchdog);
    this.watcher.close();
    for (const socket of this.inputs) socket.destroy();
    this.changes.notify();
  }
}
