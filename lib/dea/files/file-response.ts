import { randomBytes } from 'node:crypto';
import type { FileHandle } from 'node:fs/promises';
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { ServedEntry } from '../../files/open-served.js';
import { type ByteRange, contentRange, parseRanges } from './byte-ranges.js';
import { ChunkWriter } from './chunk-writer.js';
import { type ContentTypes, sniffBytes, sniffContentType } from './content-type.js';
import { checkPreconditions, isRangeWanted } from './preconditions.js';

export interface FileResponseOptions {
  request: IncomingMessage;
  response: ServerResponse;
  /** Absolute; only its name is used. */
  path: string;
  entry: ServedEntry;
  contentTypes: ContentTypes;
  /** Milliseconds that a client may take nothing. */
  stallMs: number;
}

/** A piece of the answer's body: text of its own, or bytes of the file. */
type Piece = { text: string } | { range: ByteRange };

/**
 * Serves a file, or the ranges of it that were asked for (docs/protocol/dea.md §20.4).
 * @throws ClientGoneError, or what the file system says
 */
export async function respondWithFile(options: FileResponseOptions): Promise<void> {
  const { request, response, path, entry } = options;
  const { handle, status } = entry;
  const method = request.method ?? 'GET';
  const modifiedSeconds = Math.floor(status.mtimeMs / 1000);
  response.setHeader('Last-Modified', new Date(modifiedSeconds * 1000).toUTCString());

  const precondition = checkPreconditions(method, request.headers, modifiedSeconds);
  if (precondition !== 'serve') {
    response.writeHead(precondition === 'not-modified' ? 304 : 412).end();
    return;
  }
  const contentType = options.contentTypes.ofName(path) ?? sniffContentType(await beginningOf(handle));
  const header = isRangeWanted(method, request.headers, modifiedSeconds) ? request.headers.range : undefined;
  const asked = parseRanges(header, status.size);
  switch (asked.kind) {
    case 'unsatisfiable':
      response.setHeader('Content-Range', `bytes */${status.size}`);
      refuseRange(response, 'invalid range: failed to overlap\n');
      return;
    case 'malformed':
      refuseRange(response, 'invalid range\n');
      return;
    case 'whole':
      response.setHeader('Content-Type', contentType);
      await send(options, 200, [{ range: { start: 0, length: status.size } }]);
      return;
    case 'ranges':
      await sendRanges(options, asked.ranges, contentType);
  }
}

async function sendRanges(options: FileResponseOptions, ranges: ByteRange[], contentType: string): Promise<void> {
  const { response, entry } = options;
  const [first] = ranges;
  if (ranges.length === 1 && first) {
    response.setHeader('Content-Type', contentType);
    response.setHeader('Content-Range', contentRange(first, entry.status.size));
    await send(options, 206, [{ range: first }]);
    return;
  }
  const boundary = randomBytes(30).toString('hex');
  response.setHeader('Content-Type', `multipart/byteranges; boundary=${boundary}`);
  const parts = ranges.flatMap((range, index): Piece[] => [
    {
      text:
        `${index === 0 ? '' : '\r\n'}--${boundary}\r\n` +
        `Content-Range: ${contentRange(range, entry.status.size)}\r\nContent-Type: ${contentType}\r\n\r\n`,
    },
    { range },
  ]);
  await send(options, 206, [...parts, { text: `\r\n--${boundary}--\r\n` }]);
}

async function send({ request, response, entry, stallMs }: FileResponseOptions, status: number, pieces: Piece[]) {
  const lengths = pieces.map((piece) => ('text' in piece ? Buffer.byteLength(piece.text) : piece.range.length));
  response.writeHead(status, {
    'Accept-Ranges': 'bytes',
    'Content-Length': lengths.reduce((sum, length) => sum + length, 0),
  });
  if (request.method === 'HEAD') {
    response.end();
    return;
  }
  const writer = new ChunkWriter(response, stallMs);
  for (const piece of pieces) {
    if ('text' in piece) await writer.write(piece.text);
    else if ((await writer.copy(entry.handle, piece.range.start, piece.range.length)) < piece.range.length) {
      // The file became shorter: only a cut tells the client that the announced length will not come.
      response.destroy();
      return;
    }
  }
  response.end();
}

function refuseRange(response: ServerResponse, text: string): void {
  response
    .writeHead(416, {
      'Content-Type': 'text/plain; charset=utf-8',
      'X-Content-Type-Options': 'nosniff',
      'Content-Length': text.length,
    })
    .end(text);
}

async function beginningOf(handle: FileHandle): Promise<Buffer> {
  const { bytesRead, buffer } = await handle.read(Buffer.alloc(sniffBytes), 0, sniffBytes, 0);
  return buffer.subarray(0, bytesRead);
}
