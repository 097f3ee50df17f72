import { randomBytes } from 'node:crypto';
import type { IncomingMessage, OutgoingHttpHeaders, ServerResponse } from 'node:http';
import type { BufferPool } from '../../files/buffer-pool.js';
import type { ServedEntry } from '../../files/held-place.js';
import { type WholeFile, wholeBytes } from '../../files/recent-directories.js';
import { type ByteRange, contentRange, parseRanges } from './byte-ranges.js';
import { ChunkWriter, endWith } from './chunk-writer.js';
import { type ContentTypes, sniffBytes, sniffContentType } from './content-type.js';
import { checkPreconditions, isRangeWanted } from './preconditions.js';

export interface FileResponseOptions {
  request: IncomingMessage;
  response: ServerResponse;
  /** Absolute; only its name is used. */
  path: string;
  file: ServedEntry | WholeFile;
  contentTypes: ContentTypes;
  /** Memory that large files pass through. */
  parts: BufferPool;
}

/** Milliseconds that the client may take nothing. */
const stallMs = 60_000;

/** A piece of the answer's body: text of its own, or bytes of the file. */
type Piece = { text: string } | { range: ByteRange };

/**
 * Serves a file, or the ranges of it that were asked for (docs/protocol/dea.md §20.4). Keeps nothing of it when it
 * resolves.
 * @throws ClientGoneError, or what the file system says
 */
export async function respondWithFile(options: FileResponseOptions): Promise<void> {
  const { request, response, path, file } = options;
  const { status } = file;
  const method = request.method ?? 'GET';
  const modifiedSeconds = Math.floor(status.mtimeMs / 1000);
  const modified = { 'Last-Modified': new Date(modifiedSeconds * 1000).toUTCString() };

  const precondition = checkPreconditions(method, request.headers, modifiedSeconds);
  if (precondition !== 'serve') {
    response.writeHead(precondition === 'not-modified' ? 304 : 412, modified).end();
    return;
  }
  const contentType =
    options.contentTypes.ofName(path) ?? sniffContentType(await readPiece(file, { start: 0, length: sniffBytes }));
  const header = isRangeWanted(method, request.headers, modifiedSeconds) ? request.headers.range : undefined;
  const asked = parseRanges(header, status.size);
  switch (asked.kind) {
    case 'unsatisfiable':
      refuseRange(response, 'invalid range: failed to overlap\n', {
        ...modified,
        'Content-Range': `bytes */${status.size}`,
      });
      return;
    case 'malformed':
      refuseRange(response, 'invalid range\n', modified);
      return;
    case 'whole':
      await send(options, 200, { ...modified, 'Content-Type': contentType }, [
        { range: { start: 0, length: status.size } },
      ]);
      return;
    case 'ranges':
      await sendRanges(options, asked.ranges, contentType, modified);
  }
}

async function sendRanges(
  options: FileResponseOptions,
  ranges: ByteRange[],
  contentType: string,
  modified: OutgoingHttpHeaders,
): Promise<void> {
  const { size } = options.file.status;
  const [first] = ranges;
  if (ranges.length === 1 && first) {
    const headers = { ...modified, 'Content-Type': contentType, 'Content-Range': contentRange(first, size) };
    await send(options, 206, headers, [{ range: first }]);
    return;
  }
  const boundary = randomBytes(30).toString('hex');
  const parts = ranges.flatMap((range, index): Piece[] => [
    {
      text:
        `${index === 0 ? '' : '\r\n'}--${boundary}\r\n` +
        `Content-Range: ${contentRange(range, size)}\r\nContent-Type: ${contentType}\r\n\r\n`,
    },
    { range },
  ]);
  const headers = { ...modified, 'Content-Type': `multipart/byteranges; boundary=${boundary}` };
  await send(options, 206, headers, [...parts, { text: `\r\n--${boundary}--\r\n` }]);
}

async function send(
  { request, response, file, parts }: FileResponseOptions,
  status: number,
  headers: OutgoingHttpHeaders,
  pieces: Piece[],
): Promise<void> {
  const length = pieces.reduce((sum, piece) => sum + lengthOf(piece), 0);
  response.writeHead(status, { ...headers, 'Accept-Ranges': 'bytes', 'Content-Length': length });
  if (request.method === 'HEAD') {
    response.end();
    return;
  }
  const [only] = pieces;
  if (pieces.length === 1 && only && 'range' in only && only.range.length <= wholeBytes) {
    const bytes = await readPiece(file, only.range);
    if (bytes.length < only.range.length) response.destroy();
    else await endWith(response, bytes, stallMs);
    return;
  }
  const writer = new ChunkWriter(response, stallMs, parts);
  for (const piece of pieces) {
    if ('text' in piece) await writer.write(piece.text);
    else if ('bytes' in file) await writer.write(await readPiece(file, piece.range));
    else if ((await writer.copy(file.handle, piece.range.start, piece.range.length)) < piece.range.length) {
      // The file became shorter: only a cut tells the client that the announced length will not come.
      response.destroy();
      return;
    }
  }
  await writer.end();
}

function lengthOf(piece: Piece): number {
  return 'text' in piece ? Buffer.byteLength(piece.text) : piece.range.length;
}

function refuseRange(response: ServerResponse, text: string, headers: OutgoingHttpHeaders): void {
  response
    .writeHead(416, {
      ...headers,
      'Content-Type': 'text/plain; charset=utf-8',
      'X-Content-Type-Options': 'nosniff',
      'Content-Length': text.length,
    })
    .end(text);
}

/** Shorter than asked for when the file ends before. */
async function readPiece(file: ServedEntry | WholeFile, { start, length }: ByteRange): Promise<Buffer> {
  if ('bytes' in file) return file.bytes.subarray(start, start + length);
  const bytes = Buffer.allocUnsafe(length);
  let filled = 0;
  while (filled < length) {
    const { bytesRead } = await file.handle.read(bytes, filled, length - filled, start + filled);
    if (bytesRead === 0) break;
    filled += bytesRead;
  }
  return bytes.subarray(0, filled);
}
