import type { Socket } from 'node:net';
import type { PassThrough } from 'node:stream';
import type { ContainerProcess } from '../../engine.js';
import { JsonTypeError } from '../json/decode.js';
import { JsonSyntaxError } from '../json/scanner.js';
import { type ClientPayload, encodeServerPayload, PayloadReader, parseClientPayload } from '../messages/payload.js';
import type { TakenConnection } from './gated-connection.js';

/**
 * How the connection of Run or Attach came to its end: the process `ended`; the `client left`; it said what is no
 * payload (`gibberish`); or the server `closed` it.
 */
export type ConnectionEnd = 'ended' | 'client left' | 'gibberish' | 'closed';

export interface ProcessConnectionOptions {
  connection: TakenConnection;
  process: ContainerProcess;
  /** This client's share of the process's standard input. */
  stdin: PassThrough;
  streamId: string;
  /** The process is forgotten once this client was told its exit status. */
  forgets: boolean;
}

/** A client may need so long to take note of the end, while it is still sending. */
const lingerMs = 2_000;

/**
 * The connection of a client with a process, from the answer to Run or Attach on: raw JSON payloads in both directions
 * (docs/protocol/containers.md §2.5). The process lives on when it ends.
 */
export class ProcessConnection {
  readonly #socket: Socket;
  readonly #connection: TakenConnection;
  readonly #process: ContainerProcess;
  readonly #stdin: PassThrough;
  readonly #streamId: string;
  readonly #forgets: boolean;
  readonly #over = new AbortController();
  #end: ConnectionEnd = 'closed';

  constructor({ connection, process, stdin, streamId, forgets }: ProcessConnectionOptions) {
    this.#forgets = forgets;
    this.#connection = connection;
    this.#socket = connection.socket;
    this.#process = process;
    this.#stdin = stdin;
    this.#streamId = streamId;
  }

  /** Talks with the client until one side has no more to say. */
  async converse(): Promise<ConnectionEnd> {
    const { id } = this.#process;
    this.#socket.on('error', () => {}).once('close', () => this.#finish('client left'));
    this.#socket.write(encodeServerPayload(id, { kind: 'begin', processId: id, streamId: this.#streamId }));
    const listening = this.#listen();
    await this.#awaitExit();
    await listening;
    this.#socket.destroySoon();
    return this.#end;
  }

  /** Ends the conversation without a word about the process. Idempotent. */
  close(): void {
    this.#finish('closed');
    this.#socket.destroy();
  }

  async #awaitExit(): Promise<void> {
    const { signal } = this.#over;
    try {
      const exitStatus = await this.#process.wait({ signal });
      this.#sayLast(encodeServerPayload(this.#process.id, { kind: 'exit', exitStatus }));
      // Its container may be going at the same time, and takes along what is kept of it.
      if (this.#forgets) await this.#process.forget?.().catch(() => {});
    } catch (error) {
      if (signal.aborted) return;
      const text = error instanceof Error ? error.message : String(error);
      this.#sayLast(encodeServerPayload(this.#process.id, { kind: 'failure', text }));
    }
  }

  /** Closing at once would throw away what is under way to a client that is still sending. */
  #sayLast(payload: string): void {
    const socket = this.#socket;
    const timer = setTimeout(() => socket.destroy(), lingerMs);
    socket.once('close', () => clearTimeout(timer));
    this.#finish('ended');
    socket.end(payload);
  }

  async #listen(): Promise<void> {
    const reader = new PayloadReader();
    const { signal } = this.#over;
    try {
      for await (const bytes of this.#received()) {
        // Read and forgotten after the end, so that the client's own end is seen.
        if (signal.aborted) continue;
        for (const value of reader.push(bytes)) {
          if (!signal.aborted) await this.#obey(parseClientPayload(value));
        }
      }
      this.#leave('client left');
    } catch (error) {
      const isGibberish = error instanceof JsonSyntaxError || error instanceof JsonTypeError;
      this.#leave(isGibberish ? 'gibberish' : 'client left');
    }
  }

  async *#received(): AsyncGenerator<Buffer> {
    const { early, hasEnded } = this.#connection;
    if (early.length > 0) yield early;
    if (!hasEnded) yield* this.#socket.iterator({ destroyOnReturn: false });
  }

  async #obey(payload: ClientPayload): Promise<void> {
    switch (payload.kind) {
      case 'stdin':
        return this.#feed(payload.data);
      case 'stdin end':
        this.#stdin.end();
        return;
      case 'resize':
        // Of a process that is just ending.
        return this.#process.resize(payload.columns, payload.rows).catch(() => {});
      case 'signal':
        return this.#process.signal(payload.signal).catch(() => {});
      case 'nothing':
    }
  }

  /** As fast as the process reads. */
  async #feed(data: Buffer): Promise<void> {
    const stdin = this.#stdin;
    if (stdin.destroyed || stdin.writableEnded || data.length === 0) return;
    if (stdin.write(data)) return;
    await new Promise<void>((resolve) => {
      const settle = () => {
        stdin.off('drain', settle).off('close', settle);
        this.#over.signal.removeEventListener('abort', settle);
        resolve();
      };
      stdin.on('drain', settle).on('close', settle);
      this.#over.signal.addEventListener('abort', settle);
    });
  }

  #leave(end: ConnectionEnd): void {
    if (this.#over.signal.aborted) return;
    this.#finish(end);
    this.#socket.destroy();
  }

  #finish(end: ConnectionEnd): void {
    if (this.#over.signal.aborted) return;
    this.#end = end;
    // A client that the server leaves may come back to the next one, and go on.
    if (end !== 'closed') this.#stdin.end();
    this.#over.abort();
  }
}
