import type { Stats } from 'node:fs';
import { lstat } from 'node:fs/promises';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { setTimeout as delay } from 'node:timers/promises';
import type { ServedEntry } from '../../files/open-served.js';
import { ChunkWriter } from './chunk-writer.js';
import { sniffBytes, sniffContentType } from './content-type.js';

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
}

/** The value of `tail_offset` is no offset. */
export class TailOffsetError extends Error {
  constructor() {
    super('Tail offset must be a positive integer.');
  }
}

/** Pause between two looks at the file, and so the longest time until new bytes are sent. */
const periodMs = 50;

/**
 * Where a request wants its tail to begin; undefined is the end of the file.
 * @returns undefined when the query asks for no tail
 * @throws TailOffsetError
 */
export function tailRequest(query: string): { offset: number | undefined } | undefined {
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
  const { request, response, idleMs } = options;
  const tail = new Tail(options);
  if (request.method === 'HEAD') {
    await tail.sendHeaders();
    response.end();
    return;
  }
  const writer = new ChunkWriter(response, idleMs);
  let idleSinceMs = performance.now();
  for (;;) {
    await pause(writer.gone);
    const look = await tail.sendNews(writer);
    if (look.isGone) {
      response.end();
      return;
    }
    if (look.hasChanged) idleSinceMs = performance.now();
    if (performance.now() - idleSinceMs >= idleMs) {
      response.destroy();
      return;
    }
  }
}

async function pause(gone: AbortSignal): Promise<void> {
  await delay(periodMs, undefined, { signal: gone }).catch(() => gone.throwIfAborted());
}

/** One file and how far it has been sent. */
class Tail {
  private offset: number;
  private seen: Stats;

  constructor(private readonly options: TailOptions) {
    this.seen = options.entry.status;
    this.offset = options.offset ?? this.seen.size;
  }

  /** Sends what is new. The file is looked up by name first, so that what came before its end is still sent. */
  async sendNews(writer: ChunkWriter): Promise<{ isGone: boolean; hasChanged: boolean }> {
    const isGone = !(await this.isStillThere());
    const before = this.seen;
    this.seen = await this.options.entry.handle.stat();
    if (this.seen.size < before.size && this.seen.size < this.offset) this.offset = 0;
    await this.sendHeaders();
    const length = this.seen.size - this.offset;
    if (length > 0) this.offset += await writer.copy(this.options.entry.handle, this.offset, length);
    return { isGone, hasChanged: this.seen.size !== before.size || this.seen.mtimeMs !== before.mtimeMs };
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

  private async isStillThere(): Promise<boolean> {
    const { path, entry } = this.options;
    const present = await lstat(path).catch(() => undefined);
    return present !== undefined && present.ino === entry.status.ino && present.dev === entry.status.dev;
  }
}
