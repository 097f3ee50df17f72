import type { ProcessSignal } from '../../engine.js';
import { decodeBody, integer, message, string } from '../json/decode.js';
import { encodeJson } from '../json/encode.js';
import { bytesOfLiteral, literalOfBytes, membersOf } from '../json/members.js';
import { JsonScanner, JsonSyntaxError } from '../json/scanner.js';
import { largestWindow, ttySpec } from './process-spec.js';

/** What a client says on the connection of Run or Attach (docs/protocol/containers.md §2.5). */
export type ClientPayload =
  | { kind: 'stdin'; data: Buffer }
  | { kind: 'stdin end' }
  | { kind: 'resize'; columns: number; rows: number }
  | { kind: 'signal'; signal: ProcessSignal }
  | { kind: 'nothing' };

/** What the server says there. */
export type ServerPayload =
  | { kind: 'begin'; processId: string; streamId: string }
  | { kind: 'exit'; exitStatus: number }
  | { kind: 'failure'; text: string };

const signals: ProcessSignal[] = ['terminate', 'kill'];

const clientPayload = message('ProcessPayload', {
  process_id: string,
  source: integer('int'),
  data: string,
  tty: ttySpec,
  signal: integer('int'),
});

const serverPayload = message('ProcessPayload', {
  process_id: string,
  stream_id: string,
  exit_status: integer('int'),
  error: string,
});

/**
 * The first of `tty`, `source` and `signal` that is there decides; a payload without any, or with a signal that is none,
 * ends the standard input.
 *
 * @param value one complete JSON value
 * @throws JsonTypeError
 */
export function parseClientPayload(value: Buffer): ClientPayload {
  const { tty, source, data, signal } = decodeBody(value, clientPayload);
  if (tty) return resizeTo(tty.window_size?.columns, tty.window_size?.rows);
  if (source !== undefined) {
    if (data === undefined) return { kind: 'stdin end' };
    return { kind: 'stdin', data: bytesOfLiteral(membersOf(value).get('data')!) };
  }
  const known = signal === undefined ? undefined : signals[signal];
  return known === undefined ? { kind: 'stdin end' } : { kind: 'signal', signal: known };
}

/** No size, or one that cannot be, changes nothing. */
function resizeTo(columns = 0, rows = 0): ClientPayload {
  const isSize = [columns, rows].every((cells) => cells >= 1 && cells <= largestWindow);
  return isSize ? { kind: 'resize', columns, rows } : { kind: 'nothing' };
}

export function encodeClientPayload(processId: string, payload: ClientPayload): Buffer {
  switch (payload.kind) {
    case 'stdin':
      return Buffer.concat([
        Buffer.from(`{"process_id":${JSON.stringify(processId)},"source":0,"data":`),
        literalOfBytes(payload.data),
        Buffer.from('}\n'),
      ]);
    case 'stdin end':
      return Buffer.from(encodeJson({ process_id: processId, source: 0 }));
    case 'resize': {
      const { columns, rows } = payload;
      return Buffer.from(encodeJson({ process_id: processId, tty: { window_size: { columns, rows } } }));
    }
    case 'signal':
      return Buffer.from(encodeJson({ process_id: processId, signal: signals.indexOf(payload.signal) }));
    case 'nothing':
      return Buffer.alloc(0);
  }
}

/** @throws JsonTypeError, JsonSyntaxError for a payload that says nothing */
export function parseServerPayload(value: Buffer): ServerPayload {
  const {
    process_id: processId,
    stream_id: streamId,
    exit_status: exitStatus,
    error,
  } = decodeBody(value, serverPayload);
  if (error !== undefined) return { kind: 'failure', text: error };
  if (exitStatus !== undefined) return { kind: 'exit', exitStatus };
  if (streamId !== undefined) return { kind: 'begin', processId: processId ?? '', streamId };
  throw new JsonSyntaxError('a payload without stream_id, exit_status and error');
}

export function encodeServerPayload(processId: string, payload: ServerPayload): string {
  switch (payload.kind) {
    case 'begin':
      return encodeJson({ process_id: processId, stream_id: payload.streamId });
    case 'exit':
      return encodeJson({ process_id: processId, exit_status: payload.exitStatus });
    case 'failure':
      return encodeJson({ process_id: processId, error: payload.text });
  }
}

/** More for one value is no payload. */
const maximumPayloadBytes = 64 * 1024 * 1024;

/** Cuts what comes on a connection into JSON values; they may follow each other without a newline. */
export class PayloadReader {
  #scanner = new JsonScanner();
  #parts: Buffer[] = [];
  #length = 0;

  /**
   * The values that are complete with these bytes.
   *
   * @throws JsonSyntaxError for what cannot become one; whatever comes after that means nothing
   */
  *push(bytes: Buffer): Generator<Buffer> {
    let start = 0;
    while (start < bytes.length) {
      const end = this.#scanner.scan(bytes, start);
      this.#keep(bytes.subarray(start, end));
      if (end === undefined) return;
      yield Buffer.concat(this.#parts);
      this.#scanner = new JsonScanner();
      this.#parts = [];
      this.#length = 0;
      start = end;
    }
  }

  #keep(part: Buffer): void {
    // White space between values must not gather.
    if (!this.#scanner.hasBegun) return;
    this.#length += part.length;
    if (this.#length > maximumPayloadBytes) throw new JsonSyntaxError('payload too large');
    this.#parts.push(part);
  }
}
