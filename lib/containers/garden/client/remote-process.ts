import type { Socket } from 'node:net';
import { Readable, type Writable } from 'node:stream';
import { abortable } from '../../../process/abortable.js';
import type { ContainerProcess, ProcessIO, ProcessSignal } from '../../engine.js';
import {
  type ClientPayload,
  encodeClientPayload,
  PayloadReader,
  parseServerPayload,
  type ServerPayload,
} from '../messages/payload.js';
import { ConnectionError } from './garden-calls.js';

export interface RemoteProcessOptions {
  /** The connection of Run or Attach, behind the answer's head. */
  connection: Socket;
  io: ProcessIO;
  /** Opens the connection of an output. */
  openOutput: (processId: string, streamId: string, name: 'stdout' | 'stderr') => Promise<Socket>;
}

/** What of standard input goes into one payload. */
const pieceLength = 32 * 1024;

/** A process as a client of a Garden server has it (docs/protocol/containers.md §2.5). */
export class RemoteProcess implements ContainerProcess {
  readonly id: string;
  readonly #connection: Socket;
  readonly #exited: Promise<number>;

  private constructor(id: string, connection: Socket, exited: Promise<number>) {
    this.id = id;
    this.#connection = connection;
    this.#exited = exited;
    // Whoever waits is told; that nobody does is no fault.
    exited.catch(() => {});
  }

  /** Joins the streams of `io`; resolves once the server has told which process it is. */
  static async begin({ connection, io, openOutput }: RemoteProcessOptions): Promise<RemoteProcess> {
    const payloads = serverPayloads(connection);
    const first = await payloads.next();
    if (first.done || first.value.kind !== 'begin') {
      connection.destroy();
      throw new ConnectionError('garden: the server did not say which process it is');
    }
    const { processId, streamId } = first.value;
    const lost = new AbortController();
    const outputs = (['stdout', 'stderr'] as const).map(async (name) => {
      const sink = io[name];
      if (sink) await handOver(await openOutput(processId, streamId, name), sink, lost.signal);
    });
    // A failure is told by `wait`.
    for (const output of outputs) output.catch(() => {});
    const exited = exitOf(payloads).then(
      async (exitStatus) => {
        await Promise.all(outputs);
        return exitStatus;
      },
      async (error: unknown) => {
        lost.abort();
        // Whoever joins again must not write beside them.
        await Promise.allSettled(outputs);
        throw error;
      },
    );
    const process = new RemoteProcess(
      processId,
      connection,
      exited.finally(() => connection.destroy()),
    );
    process.#feed(io.stdin).catch(() => {});
    return process;
  }

  async wait({ signal }: { signal?: AbortSignal } = {}): Promise<number> {
    return abortable(this.#exited, signal);
  }

  async signal(signal: ProcessSignal): Promise<void> {
    await this.#say({ kind: 'signal', signal });
  }

  async resize(columns: number, rows: number): Promise<void> {
    await this.#say({ kind: 'resize', columns, rows });
  }

  async #feed(stdin: ProcessIO['stdin']): Promise<void> {
    const source = stdin instanceof Readable ? stdin : [Buffer.from(stdin ?? '')];
    for await (const part of source) {
      const bytes = Buffer.from(part);
      for (let start = 0; start < bytes.length; start += pieceLength) {
        await this.#say({ kind: 'stdin', data: bytes.subarray(start, start + pieceLength) });
      }
    }
    await this.#say({ kind: 'stdin end' });
  }

  /** Resolves when it is on its way; to a process that has ended nothing is said. */
  #say(payload: ClientPayload): Promise<void> {
    const connection = this.#connection;
    if (!connection.writable) return Promise.resolve();
    return new Promise((resolve) => {
      const settle = () => {
        connection.off('close', settle);
        resolve();
      };
      connection.once('close', settle);
      connection.write(encodeClientPayload(this.id, payload), settle);
    });
  }
}

async function* serverPayloads(connection: Socket): AsyncGenerator<ServerPayload> {
  const reader = new PayloadReader();
  for await (const bytes of connection.iterator({ destroyOnReturn: false })) {
    for (const value of reader.push(bytes)) yield parseServerPayload(value);
  }
}

async function exitOf(payloads: AsyncGenerator<ServerPayload>): Promise<number> {
  try {
    for await (const payload of payloads) {
      if (payload.kind === 'exit') return payload.exitStatus;
      if (payload.kind === 'failure') throw new Error(payload.text);
    }
  } catch (error) {
    if (!(error instanceof Error) || !('code' in error)) throw error;
    throw new ConnectionError(`garden: ${error.message}`, { cause: error });
  }
  throw new ConnectionError('garden: the connection ended before the process did');
}

/** Gives a connection's bytes to a sink, at its pace, and leaves the sink open. */
async function handOver(connection: Socket, sink: Writable, lost: AbortSignal): Promise<void> {
  const leave = () => connection.destroy();
  lost.addEventListener('abort', leave);
  if (lost.aborted) leave();
  sink.on('error', leave).on('close', leave);
  try {
    for await (const bytes of connection) {
      if (sink.destroyed || sink.writableEnded) return;
      await new Promise<void>((resolve) => {
        sink.once('close', resolve);
        sink.write(bytes, () => {
          sink.off('close', resolve);
          resolve();
        });
      });
    }
  } catch {
    // The reader is gone, or the server: then the connection of the process tells it.
  } finally {
    sink.off('error', leave).off('close', leave);
    lost.removeEventListener('abort', leave);
    connection.destroy();
  }
}
