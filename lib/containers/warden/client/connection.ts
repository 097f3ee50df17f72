import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { HandleInUseError, InvalidSpecError, UnknownHandleError } from '../../errors.js';
import { WardenError } from '../errors.js';
import { decodeEnvelope, decodeResponse, encodeRequest } from '../protocol/codec.js';
import { encodeFrame, FrameParser } from '../protocol/framing.js';
import type { RequestFields, RequestName, Response } from '../protocol/messages.js';

/** The connection broke, or could not be made: the server may be restarting. */
export class ConnectionLostError extends Error {}

/** A job's whole output comes in one response. */
const longestResponseBytes = 256 * 1024 * 1024;

/** A connection to a Warden server. Requests on it are answered in order; several may be under way. */
export class WardenConnection {
  readonly #socket: Socket;
  readonly #parser = new FrameParser(longestResponseBytes);
  readonly #payloads: Buffer[] = [];
  #readers: { resolve: (payload: Buffer) => void; reject: (error: Error) => void }[] = [];
  #isClosed = false;
  /** Resolves when it is closed, from whichever side. */
  readonly closed: Promise<void>;

  private constructor(socket: Socket) {
    this.#socket = socket;
    socket.on('data', (piece: Buffer) => this.#receive(piece));
    // The closing that follows tells those who wait.
    socket.on('error', () => {});
    this.closed = new Promise((resolve) => {
      socket.on('close', () => {
        this.#lose();
        resolve();
      });
    });
  }

  /** @throws ConnectionLostError when nobody listens */
  static async open(socketPath: string): Promise<WardenConnection> {
    const socket = connect(placeOf(socketPath));
    try {
      await once(socket, 'connect');
    } catch (cause) {
      throw new ConnectionLostError(`cannot connect to Warden at ${socketPath}`, { cause });
    }
    return new WardenConnection(socket);
  }

  /** @throws what the server refuses with, or ConnectionLostError */
  async request<Name extends RequestName>(type: Name, fields: RequestFields<Name>): Promise<Response<Name>> {
    const answer = this.#next();
    this.#socket.write(encodeFrame(encodeRequest(type, fields)));
    return readResponse(type, await answer, fields);
  }

  /** The responses of a Stream request up to the last. */
  async *stream(handle: string, jobId: number): AsyncGenerator<Response<'Stream'>> {
    const fields = { handle, jobId };
    this.#socket.write(encodeFrame(encodeRequest('Stream', fields)));
    for (;;) {
      const response = readResponse('Stream', await this.#next(), fields);
      yield response;
      if (response.exitStatus !== undefined) return;
    }
  }

  close(): void {
    this.#socket.destroy();
    this.#lose();
  }

  #receive(piece: Buffer): void {
    try {
      for (const payload of this.#parser.push(piece)) {
        const reader = this.#readers.shift();
        if (reader) reader.resolve(payload);
        else this.#payloads.push(payload);
      }
    } catch {
      this.close();
    }
  }

  #next(): Promise<Buffer> {
    const payload = this.#payloads.shift();
    if (payload) return Promise.resolve(payload);
    if (this.#isClosed) return Promise.reject(lost());
    return new Promise((resolve, reject) => this.#readers.push({ resolve, reject }));
  }

  #lose(): void {
    this.#isClosed = true;
    for (const { reject } of this.#readers) reject(lost());
    this.#readers = [];
  }
}

/** Asks on a connection of its own: nothing else has to wait for the answer. */
export async function requestOnce<Name extends RequestName>(
  socketPath: string,
  type: Name,
  fields: RequestFields<Name>,
): Promise<Response<Name>> {
  const connection = await WardenConnection.open(socketPath);
  try {
    return await connection.request(type, fields);
  } finally {
    connection.close();
  }
}

/** Where a server listens: the path of a UNIX socket, or `tcp://host:port` (docs/protocol/dea.md §2). */
export function placeOf(address: string): { path: string } | { host: string; port: number } {
  const [, host, port] = /^tcp:\/\/(.+):(\d+)\/?$/.exec(address) ?? [];
  return host === undefined ? { path: address } : { host: host.replace(/^\[(.*)\]$/, '$1'), port: Number(port) };
}

function lost(): ConnectionLostError {
  return new ConnectionLostError('the connection to Warden broke');
}

function readResponse<Name extends RequestName>(type: Name, payload: Buffer, fields: object): Response<Name> {
  const envelope = decodeEnvelope(payload);
  if (envelope.type === 'Error') throw refusal(decodeResponse('Error', envelope.content).message ?? '', fields);
  if (envelope.type !== type) throw new WardenError(`Warden answered ${type} with ${envelope.type}`);
  return decodeResponse(type, envelope.content);
}

/** The engine's error for Warden's text (docs/protocol/containers.md §1.4). */
function refusal(message: string, fields: object): Error {
  const handle = 'handle' in fields ? String(fields.handle) : '';
  if (message === 'unknown handle') return new UnknownHandleError(handle);
  if (/^container with handle: .* already exists\.$/s.test(message)) return new HandleInUseError(handle);
  if (/^(Source path for bind mount does not exist|rootfs .* not found)/s.test(message)) {
    return new InvalidSpecError(message);
  }
  return new WardenError(message);
}
