import { Writable } from 'node:stream';
import { errorData, type Logger } from '../../../logging/logger.js';
import type { Container, ContainerProcess, ProcessIO, ProcessSpec } from '../../engine.js';
import { OutputBuffer, type OutputName } from '../output-buffer.js';
import type { JobRecord } from './container-record.js';
import { JobSockets } from './job-sockets.js';
import { SyslogForwarder } from './syslog.js';

export interface JobOptions {
  id: number;
  record: JobRecord;
  /** Most bytes of both output streams together. */
  outputLimitBytes: number;
  syslogSocket: string | undefined;
  /** Called once, when the job has said more than that; it is being ended. */
  onOutputExceeded: () => void;
  /** Called when the record has changed because the job has ended. */
  onEnded: () => void;
  logger: Logger;
}

/** What one who linked a job gets. */
export interface JobResult {
  exitStatus: number;
  stdout: Buffer;
  stderr: Buffer;
}

/** Stands for what went wrong outside of the job itself (docs/protocol/containers.md §1.5). */
const failureStatus = 255;
const processIdPattern = /^job-(\d+)$/;

/** The job of one of the engine's processes; undefined for a process that is none. */
export function jobIdOf(processId: string): number | undefined {
  const match = processIdPattern.exec(processId);
  return match ? Number(match[1]) : undefined;
}

/**
 * A script that runs in a container, or has run until somebody gets its result. Its output is kept in memory up to the
 * limit, because the engine keeps less of what comes in short lines; the engine's log serves after a restart. The output
 * of one whose output is not kept is given on sockets.
 */
export class Job {
  readonly id: number;
  readonly #options: JobOptions;
  readonly #buffer: OutputBuffer;
  readonly #syslog: SyslogForwarder | undefined;
  #sockets: JobSockets | undefined;
  /** What the engine gives output to that goes to the sockets. */
  #forwarders: Writable[] = [];
  #process: ContainerProcess | undefined;
  #exit: Promise<number> | undefined;

  constructor(options: JobOptions) {
    const { record, syslogSocket, logger } = options;
    this.id = options.id;
    this.#options = options;
    this.#buffer = new OutputBuffer({
      limitBytes: options.outputLimitBytes,
      onOverflow: () => this.#outputExceeded(),
    });
    if (record.logTag !== undefined && syslogSocket !== undefined) {
      this.#syslog = new SyslogForwarder({ socketPath: syslogSocket, logTag: record.logTag, logger });
    }
  }

  get #processId(): string {
    return `job-${this.id}`;
  }

  /** Starts it, with the script on standard input. @throws the engine's error */
  async start(container: Container, script: Buffer, spec: Omit<ProcessSpec, 'id' | 'discardOutput'>): Promise<void> {
    const { discardOutput } = this.#options.record;
    if (discardOutput) await this.#openSockets(container);
    const isRead = !discardOutput || this.#isForwarded;
    const process = await container.run(
      { ...spec, id: this.#processId, discardOutput: !isRead },
      { stdin: script, ...(isRead && this.#sinks({ isKept: !discardOutput, isForwarded: true })) },
    );
    this.#joined(process);
  }

  /** Joins it after a restart of the server. @throws the engine's error */
  async adopt(container: Container): Promise<void> {
    const { discardOutput, exitStatus } = this.#options.record;
    if (exitStatus !== undefined) {
      this.#exit = Promise.resolve(exitStatus);
      this.#buffer.complete();
      return;
    }
    if (discardOutput) await this.#openSockets(container);
    // What was sent to syslog and readers once is not sent again.
    const forwarding: ProcessIO = this.#isForwarded
      ? { ...this.#sinks({ isKept: false, isForwarded: true }), outputFrom: 'undelivered' }
      : {};
    let process = await container.attach(this.#processId, forwarding);
    if (!discardOutput) {
      process = await container.attach(this.#processId, this.#sinks({ isKept: true, isForwarded: false }));
    }
    this.#joined(process);
  }

  /**
   * Waits for its end, and gives all that it said. May be called any number of times; the engine is asked no earlier,
   * because it forgets a process a while after its exit status was told.
   */
  async result(): Promise<JobResult> {
    const exitStatus = await this.exitStatus();
    return { exitStatus, stdout: this.#buffer.contentOf('stdout'), stderr: this.#buffer.contentOf('stderr') };
  }

  /** Waits for its end. */
  exitStatus(): Promise<number> {
    this.#exit ??= this.#waitForExit();
    return this.#exit;
  }

  /** Its output from the beginning to the end, at the reader's pace. Ends early on abort. */
  output(signal: AbortSignal): AsyncGenerator<{ name: OutputName; data: Buffer }> {
    // Nothing but its end tells that no more will come.
    void this.exitStatus();
    return this.#buffer.read(signal);
  }

  /** Lets go of what the server holds for it; the process goes on. Idempotent. */
  async release(): Promise<void> {
    this.#syslog?.close();
    this.#buffer.complete();
    // What comes now was given to nobody: the next server is to have it.
    if (this.#sockets) for (const forwarder of this.#forwarders) forwarder.destroy();
    await this.#sockets?.close();
  }

  get #isForwarded(): boolean {
    return this.#syslog !== undefined || this.#sockets !== undefined;
  }

  async #openSockets(container: Container): Promise<void> {
    const { containerPath } = await container.info();
    this.#sockets = await JobSockets.open({ containerPath, jobId: this.id, logger: this.#options.logger });
  }

  #joined(process: ContainerProcess): void {
    this.#process = process;
    if (this.#options.record.hasExceededOutput) this.#kill();
    // Its forwarders must end with it, whether or not somebody asks.
    if (this.#isForwarded) void this.exitStatus();
  }

  async #waitForExit(): Promise<number> {
    const { record, logger } = this.#options;
    try {
      const exitStatus = await this.#process!.wait();
      if (record.hasExceededOutput) return failureStatus;
      if (this.#isForwarded) {
        record.exitStatus = exitStatus;
        this.#options.onEnded();
      }
      return exitStatus;
    } catch (error) {
      logger.warn('containers.warden.exit-status-lost', { job: this.id, ...errorData(error) });
      return failureStatus;
    } finally {
      void this.release();
    }
  }

  #sinks({ isKept, isForwarded }: { isKept: boolean; isForwarded: boolean }): ProcessIO {
    const sink = (name: OutputName) =>
      new Writable({
        write: (chunk: Buffer, _encoding, done) => {
          if (isForwarded) this.#syslog?.append(name, chunk);
          if (isKept) this.#buffer.append(name, chunk);
          if (!isForwarded || !this.#sockets) return done();
          void this.#sockets.write(name, chunk).then(() => done());
        },
      });
    const [stdout, stderr] = [sink('stdout'), sink('stderr')];
    if (isForwarded) this.#forwarders.push(stdout, stderr);
    return { stdout, stderr };
  }

  #outputExceeded(): void {
    this.#options.record.hasExceededOutput = true;
    this.#options.onOutputExceeded();
    this.#kill();
  }

  #kill(): void {
    this.#process?.signal('kill').catch((error: unknown) => {
      this.#options.logger.warn('containers.warden.kill-failed', { job: this.id, ...errorData(error) });
    });
  }
}
