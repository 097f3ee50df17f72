import { setMaxListeners } from 'node:events';
import { type FSWatcher, watch } from 'node:fs';
import { constants, open } from 'node:fs/promises';
import { Readable } from 'node:stream';
import { errorData, type Logger } from '../../../logging/logger.js';
import { abortable } from '../../../process/abortable.js';
import { isRunning, type ProcessIdentity, signalProcess } from '../../../process/identity.js';
import type { Launcher } from '../../../process/launcher.js';
import type { ContainerProcess, ProcessIO, ProcessSignal } from '../../engine.js';
import { ChangeSignal } from './change-signal.js';
import { chooseStart, DeliveryCursor, type LogPosition } from './delivery.js';
import { followOutput } from './output-follower.js';
import type { ProcessDirectory, ProcessTraits } from './process-directory.js';
import type { OutputName } from './process-log.js';
import { StandardInput } from './standard-input.js';

export interface SupervisedProcessOptions {
  id: string;
  directory: ProcessDirectory;
  traits: ProcessTraits;
  /** Absent when the process has ended. */
  process?: ProcessIdentity;
  conmon?: ProcessIdentity;
  /** Known already when the process ended before it was joined. */
  exitStatus?: number;
  launcher: Launcher;
  /** Absolute path of socat. */
  socat: string;
  /** Called with the exit status before anyone else learns it. */
  beforeExit: (exitStatus: number) => Promise<void>;
  logger: Logger;
}

/** The exit status of a process can no longer be learnt: its conmon was killed. */
export class ExitStatusLostError extends Error {}

const signalNames: Record<ProcessSignal, NodeJS.Signals> = { terminate: 'SIGTERM', kill: 'SIGKILL' };

/**
 * A process of a container with its conmon.
 *
 *   running ---- exit file ----> ended(status) ---> every wait() resolves, each after its own output is handed over
 *      +------ conmon gone ----> lost           ---> every wait() rejects
 */
export class SupervisedProcess {
  readonly id: string;
  readonly traits: ProcessTraits;
  readonly directory: ProcessDirectory;
  /** Exit status; rejects with ExitStatusLostError. */
  readonly exited: Promise<number>;
  readonly #options: SupervisedProcessOptions;
  readonly #changes = new ChangeSignal();
  readonly #stdin: StandardInput;
  readonly #detach = new AbortController();
  #settle!: { resolve: (exitStatus: number) => void; reject: (error: Error) => void };
  #watchers: FSWatcher[] = [];
  readonly #cursors: Record<OutputName, DeliveryCursor>;
  /** How many follow each stream. */
  readonly #followers: Record<OutputName, number> = { stdout: 0, stderr: 0 };
  readonly #openings = new Set<Promise<void>>();
  #isWatchingOutput = false;
  #isLooking = false;
  #mustLookAgain = false;
  #hasEnded = false;
  /** When the exit status was first handed to someone; milliseconds since the epoch. */
  #deliveredAt: number | undefined;

  constructor(options: SupervisedProcessOptions) {
    this.#options = options;
    // Any number may follow it, and wait for their readers.
    setMaxListeners(0, this.#detach.signal);
    this.id = options.id;
    this.traits = options.traits;
    this.directory = options.directory;
    const { path } = options.directory;
    this.#cursors = { stdout: new DeliveryCursor(path, 'stdout'), stderr: new DeliveryCursor(path, 'stderr') };
    this.#stdin = new StandardInput({
      launcher: options.launcher,
      socat: options.socat,
      processDirectory: path,
      isTerminal: options.traits.hasTty,
    });
    this.exited = new Promise((resolve, reject) => {
      this.#settle = { resolve, reject };
    });
    this.exited.catch(() => {});
    if (options.exitStatus !== undefined) {
      this.#hasEnded = true;
      this.#settle.resolve(options.exitStatus);
      return;
    }
    this.#watch(options.directory.exitDirectory, () => this.look());
    this.look();
  }

  get hasEnded(): boolean {
    return this.#hasEnded;
  }

  get deliveredAt(): number | undefined {
    return this.#deliveredAt;
  }

  /** Resolves when all who are attached by now have opened the log. */
  async opened(): Promise<void> {
    await Promise.all(this.#openings);
  }

  /** Looks whether the process has ended; called on every hint and, in case a hint was lost, from time to time. */
  look(): void {
    if (this.#hasEnded) return;
    if (this.#isLooking) {
      this.#mustLookAgain = true;
      return;
    }
    this.#isLooking = true;
    this.#lookNow()
      .catch((error: unknown) => this.#options.logger.warn('containers.process.look-failed', errorData(error)))
      .finally(() => {
        this.#isLooking = false;
        if (!this.#mustLookAgain) return;
        this.#mustLookAgain = false;
        this.look();
      });
  }

  /** Joins the given streams to the process. */
  attach(io: ProcessIO): ContainerProcess {
    if (this.traits.hasStdin && !this.#hasEnded && io.stdin !== undefined) this.#stdin.feed(io.stdin);
    // Nobody will read it; whoever sends must not wait for that.
    else if (io.stdin instanceof Readable) io.stdin.on('error', () => {}).resume();
    const delivered = io.stdout || io.stderr ? this.#follow(io) : Promise.resolve();
    delivered.catch(() => {});
    return {
      id: this.id,
      wait: async ({ signal } = {}) => {
        const exitStatus = await abortable(this.exited, signal);
        await abortable(delivered, signal);
        this.#deliveredAt ??= Date.now();
        return exitStatus;
      },
      signal: async (signal) => {
        if (this.#options.process) signalProcess(this.#options.process, signalNames[signal]);
      },
      resize: (columns, rows) => this.#resize(columns, rows),
    };
  }

  /** Ends a process that conmon no longer keeps. */
  kill(): void {
    if (this.#options.process) signalProcess(this.#options.process, 'SIGKILL');
  }

  /**
   * The container is being removed. Followers that still have kept output to hand over finish on their own: their log
   * is open.
   */
  close(): void {
    if (this.#hasEnded) return;
    this.#end();
    this.#settle.reject(new ExitStatusLostError(`the exit status of process ${this.id} is lost with its container`));
  }

  /** Gives up watchers, followers and the input connection; the process lives on. Idempotent. */
  release(): void {
    this.#detach.abort();
    this.#changes.notify();
    this.#stdin.close();
    this.#closeWatchers();
  }

  async #lookNow(): Promise<void> {
    const conmonRan = this.#options.conmon !== undefined && isRunning(this.#options.conmon);
    const exitStatus = await this.directory.readExitStatus();
    if (exitStatus === undefined && conmonRan) return;
    if (this.#hasEnded) return;
    if (exitStatus === undefined) {
      this.kill();
      this.#end();
      this.#settle.reject(new ExitStatusLostError(`the exit status of process ${this.id} is lost: its conmon is gone`));
      return;
    }
    await this.#options.beforeExit(exitStatus).catch((error: unknown) => {
      this.#options.logger.warn('containers.process.exit-check-failed', { process: this.id, ...errorData(error) });
    });
    this.#end();
    this.#settle.resolve(exitStatus);
  }

  #end(): void {
    this.#hasEnded = true;
    this.#changes.notify();
    this.#stdin.close();
    this.#closeWatchers();
  }

  async #follow({ stdout, stderr, outputFrom }: ProcessIO): Promise<void> {
    if (!this.traits.keepsOutput) return;
    // conmon replaces the log by renaming, so the directory is watched and not the file.
    if (!this.#isWatchingOutput && !this.#hasEnded) {
      this.#isWatchingOutput = true;
      this.#watch(this.directory.outputDirectory, () => this.#changes.notify());
    }
    const path = this.directory.logFile;
    // Before anything is waited for: what the process writes from now on belongs to who attaches now.
    const from = chooseStart({
      path,
      outputFrom,
      cursors: this.#cursors,
      isFollowed: (output) => this.#followers[output] > 0,
    });
    if (stdout) this.#followers.stdout += 1;
    if (stderr) this.#followers.stderr += 1;
    let onOpened = () => {};
    const opening = new Promise<void>((resolve) => {
      onOpened = resolve;
    }).finally(() => this.#openings.delete(opening));
    this.#openings.add(opening);
    await followOutput({
      path,
      from,
      onOpened,
      changes: this.#changes,
      isComplete: () => this.#hasEnded,
      stdout,
      stderr,
      onDelivered: (output, position) => this.#noteDelivery(output, position),
      onReleased: (output) => {
        this.#followers[output] -= 1;
      },
      signal: this.#detach.signal,
    });
  }

  #noteDelivery(output: OutputName, position: LogPosition): void {
    try {
      this.#cursors[output].advance(position);
    } catch (error) {
      // Of a process whose files are removed there is nothing to go on with.
      const isGone = (error as NodeJS.ErrnoException).code === 'ENOENT';
      if (!isGone) this.#options.logger.warn('containers.process.cursor-failed', errorData(error));
    }
  }

  /** Wakes followers too, in case the kernel's queue of changes overflowed. */
  nudge(): void {
    this.look();
    if (this.#followers.stdout + this.#followers.stderr > 0) this.#changes.notify();
  }

  async #resize(columns: number, rows: number): Promise<void> {
    if (!this.traits.hasTty || this.#hasEnded) return;
    const fifo = await open(this.directory.controlFifo, constants.O_WRONLY | constants.O_NONBLOCK);
    try {
      await fifo.write(`1 ${rows} ${columns}\n`);
    } finally {
      await fifo.close();
    }
  }

  #watch(path: string, onChange: () => void): void {
    if (this.#detach.signal.aborted) return;
    try {
      const watcher = watch(path, onChange);
      watcher.on('error', (error) => this.#options.logger.warn('containers.process.watch-failed', errorData(error)));
      this.#watchers.push(watcher);
    } catch (error) {
      // Out of watches: the regular look still finds every change, only later.
      this.#options.logger.warn('containers.process.watch-failed', errorData(error));
    }
  }

  #closeWatchers(): void {
    for (const watcher of this.#watchers) watcher.close();
    this.#watchers = [];
  }
}
