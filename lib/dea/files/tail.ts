import type { IncomingMessage, ServerResponse } from 'node:http';
import type { ServedEntry } from '../../files/held-place.js';
import { ChunkWriter } from './chunk-writer.js';
import { sniffBytes, sniffContentType } from './content-type.js';
import type { FollowedFiles, Look } from './followed-files.js';

export interface TailOptions {
  request: IncomingMessage;
  response: ServerResponse;
  /** Absolute path that the file was opened by; when another file or none is there, the tail ends. */
  path: string;
  entry: ServedEntry;
  /** First byte to send; undefined begins at the end. */
  offset: number | undefined;
  /** Milliseconds without a change of the file after which the connection is cut. */
  idleMs: number;
  /** All files that this server's clients follow. */
  files: FollowedFiles;
}

/** The value of `tail_offset` is no offset. */
export class TailOffsetError extends Error {
  constructor() {
    super('Tail offset must be a positive integer.');
  }
}

/** Whether a query could ask for a tail: it has the name as it is, or a name in another spelling. */
export function mayAskForTail(query: string): boolean {
  return /(?:^|&)(?:tail|[^=&]*%)/.test(query);
}

/**
 * Where a request wants its tail to begin; undefined is the end of the file.
 * @returns undefined when the query asks for no tail
 * @throws TailOffsetError
 */
export function tailRequest(query: string): { offset: number | undefined } | undefined {
  if (!mayAskForTail(query)) return undefined;
  const parameters = new URLSearchParams(query);
  if (!parameters.has('tail')) return undefined;
  const text = parameters.get('tail_offset');
  if (text === null) return { offset: undefined };
  const offset = /^\d+$/.test(text) ? Number(text) : Number.NaN;
  if (!Number.isSafeInteger(offset)) throw new TailOffsetError();
  return { offset };
}

/**
 * Streams what is added to a file (docs/protocol/dea.md §20.5). Ends in order when the file is renamed or removed; is
 * cut when nothing happens for too long, so that the client knows to come again with a new offset. After a truncation
 * it goes on from the new beginning.
 *
 * @throws ClientGoneError, or what the file system says
 */
export async function respondWithTail(options: TailOptions): Promise<void> {
  const { request, response, path, entry, idleMs, files } = options;
  const tail = new Tail(options);
  if (request.method === 'HEAD') {
    await tail.sendHeaders();
    response.end();
    return;
  }
  const writer = new ChunkWriter(response, idleMs);
  const follower = files.follow({ path, entry, idleMs });
  const leave = () => follower.close();
  writer.gone.addEventListener('abort', leave);
  try {
    for (;;) {
      const look = await follower.next();
      writer.gone.throwIfAborted();
      if (look === 'idle' || look === 'closed') {
        response.destroy();
        return;
      }
      await tail.sendNews(look, writer);
      if (look.isGone) {
        response.end();
        return;
      }
    }
  } finally {
    writer.gone.removeEventListener('abort', leave);
    follower.close();
  }
}

/** One file and how far it has been sent. */
class Tail {
  private offset: number;
  private size: number;

  constructor(private readonly options: TailOptions) {
    this.size = options.entry.status.size;
    this.offset = options.offset ?? this.size;
  }

  /** Sends what is new; of a file that is gone, what came before its end. */
  async sendNews(look: Look, writer: ChunkWriter): Promise<void> {
    const { handle } = this.options.entry;
    const size = look.isGone ? (await handle.stat()).size : look.size;
    if (size < this.size && size < this.offset) this.offset = 0;
    this.size = size;
    await this.sendHeaders();
    if (size > this.offset) this.offset += await writer.copy(handle, this.offset, size - this.offset);
  }

  /** The type is that of the bytes to be sent first; without any there is none. */
  async sendHeaders(): Promise<void> {
    const { response, entry } = this.options;
    if (response.headersSent) return;
    const { bytesRead, buffer } = await entry.handle.read(Buffer.alloc(sniffBytes), 0, sniffBytes, this.offset);
    const beginning = buffer.subarray(0, bytesRead);
    response.writeHead(200, bytesRead > 0 ? { 'Content-Type': sniffContentType(beginning) } : {});
    response.flushHeaders();
  }
}
