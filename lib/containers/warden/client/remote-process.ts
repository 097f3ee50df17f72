import { join } from 'node:path';
import type { Writable } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import { DeliveryCursor } from '../../delivery-cursor.js';
import type { ContainerProcess, ProcessIO, ProcessSignal } from '../../engine.js';
import { OutputBuffer, type OutputName, outputNames } from '../output-buffer.js';
import type { Response } from '../protocol/messages.js';
import { ConnectionLostError, WardenConnection } from './connection.js';
import { SocketFollower } from './socket-follower.js';

export interface RemoteProcessOptions {
  id: string;
  socketPath: string;
  handle: string;
  jobId: number;
  discardOutput: boolean;
  /** Absent: Warden is asked for its output. */
  sockets?: JobSocketPlaces;
  /** Called with the last response, before anybody learns the exit status. */
  beforeExit: (result: { exitStatus: number; info?: Response<'Info'> }) => Promise<void>;
  sendSignal: (signal: ProcessSignal) => Promise<void>;
}

/** Where the output of a job is, beside what Warden itself tells. */
export interface JobSocketPlaces {
  /** Directory of the container's jobs on this machine. @throws when there is no such container any more */
  jobsDirectory: () => Promise<string>;
  /** File that remembers how far an output was given to anyone. */
  cursorFile: (output: OutputName) => string;
  /** Called when nobody serves the sockets of a job that runs. */
  onMissing: () => void;
}

/** Most that is kept of a process's output; the server ends jobs that say more than its own limit. */
const keptOutputBytes = 16 * 1024 * 1024;
const reconnectPauseMs = 200;

/**
 * A job of Warden as a process. Warden gives a job's output and exit status once: they are fetched from the moment it
 * is known, and kept for all who attach. That of a job which may print without end is read from its sockets instead, for
 * each who attaches: Warden would keep all of it, and end the job when it is too much.
 */
export class RemoteProcess {
  readonly id: string;
  /** Exit status; rejects when it can no longer be learnt. */
  readonly exited: Promise<number>;
  readonly #options: RemoteProcessOptions;
  readonly #buffer = new OutputBuffer({ limitBytes: keptOutputBytes });
  readonly #abort = new AbortController();
  #connection: WardenConnection | undefined;
  #hasEnded = false;
  #deliveredAt: number | undefined;

  constructor(options: RemoteProcessOptions) {
    this.id = options.id;
    this.#options = options;
    this.exited = this.#follow();
    this.exited.catch(() => {});
  }

  get hasEnded(): boolean {
    return this.#hasEnded;
  }

  /** When the exit status was first handed to someone; milliseconds since the epoch. */
  get deliveredAt(): number | undefined {
    return this.#deliveredAt;
  }

  /** Joins the given streams to the process; output that is kept is given from its beginning. */
  attach(io: ProcessIO): ContainerProcess {
    const { sockets } = this.#options;
    const delivered = sockets
      ? this.#followSockets(sockets, io)
      : this.#buffer.copyTo({ stdout: io.stdout, stderr: io.stderr }, this.#abort.signal);
    return {
      id: this.id,
      wait: async () => {
        const exitStatus = await this.exited;
        await delivered;
        this.#deliveredAt ??= Date.now();
        return exitStatus;
      },
      signal: async (signal) => {
        if (!this.#hasEnded) await this.#options.sendSignal(signal);
      },
      resize: async () => {
        throw new Error('Warden has no terminals');
      },
    };
  }

  /** Lets go of it; the process lives on, and who waits for it goes on waiting. Idempotent. */
  release(): void {
    this.#abort.abort();
    this.#connection?.close();
  }

  async #followSockets(places: JobSocketPlaces, io: ProcessIO): Promise<void> {
    const sinks = outputNames.flatMap((name): [OutputName, Writable][] => (io[name] ? [[name, io[name]]] : []));
    if (sinks.length === 0) return;
    const jobs = await places.jobsDirectory().catch(() => undefined);
    // A container that is gone has no output.
    if (jobs === undefined) return;
    const followers = sinks.map(
      ([name, sink]) =>
        new SocketFollower({
          path: join(jobs, String(this.#options.jobId), `${name}.sock`),
          sink,
          cursor: new DeliveryCursor(places.cursorFile(name)),
          skipsDelivered: io.outputFrom === 'undelivered',
          exited: this.exited,
          onMissing: places.onMissing,
          signal: this.#abort.signal,
        }),
    );
    await Promise.all(followers.map((follower) => follower.follow()));
  }

  async #follow(): Promise<number> {
    const given: Record<OutputName, number> = { stdout: 0, stderr: 0 };
    for (;;) {
      try {
        const result = await this.#fetch(given);
        await this.#options.beforeExit(result);
        this.#end();
        return result.exitStatus;
      } catch (error) {
        // The process goes on without us: nothing can be said of its end, now or later.
        if (this.#abort.signal.aborted) return new Promise<number>(() => {});
        if (!(error instanceof ConnectionLostError)) {
          this.#end();
          throw error;
        }
        // A server that is started again still has the job.
        await sleep(reconnectPauseMs);
      }
    }
  }

  #end(): void {
    this.#hasEnded = true;
    this.#buffer.complete();
  }

  async #fetch(given: Record<OutputName, number>): Promise<{ exitStatus: number; info?: Response<'Info'> }> {
    const { socketPath, handle, jobId, discardOutput } = this.#options;
    if (this.#abort.signal.aborted) throw new ConnectionLostError('nobody follows the process any more');
    const connection = await WardenConnection.open(socketPath);
    this.#connection = connection;
    try {
      if (this.#abort.signal.aborted) throw new ConnectionLostError('nobody follows the process any more');
      if (discardOutput) return resultOf(await connection.request('Link', { handle, jobId }));
      // After a reconnection the server begins anew.
      const toSkip = { ...given };
      for await (const response of connection.stream(handle, jobId)) {
        const { name, data, exitStatus } = response;
        if (exitStatus !== undefined) return resultOf(response);
        const output = outputNames.find((known) => known === name);
        if (output === undefined || data === undefined) continue;
        const fresh = data.subarray(toSkip[output]);
        toSkip[output] -= data.length - fresh.length;
        given[output] += fresh.length;
        if (fresh.length > 0) this.#buffer.append(output, fresh);
      }
      throw new ConnectionLostError('a stream ended without an exit status');
    } finally {
      connection.close();
    }
  }
}

function resultOf({ exitStatus, info }: { exitStatus?: number; info?: Response<'Info'> }) {
  return { exitStatus: exitStatus ?? 255, ...(info && { info }) };
}
