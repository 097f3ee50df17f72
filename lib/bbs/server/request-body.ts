import type { IncomingMessage } from 'node:http';

/** The body is larger than this server takes. */
export class BodyTooLarge extends Error {}

const none = Buffer.alloc(0);

/** How large a body may come to be: what its header says, or else whatever is allowed. @throws BodyTooLarge */
export function announcedBytes({ headers }: IncomingMessage, maximumBytes: number): number {
  const { 'content-length': length, 'transfer-encoding': encoding } = headers;
  if (length === undefined) return encoding === undefined ? 0 : maximumBytes;
  if (Number(length) > maximumBytes) throw tooLarge(maximumBytes);
  return Number(length);
}

function tooLarge(maximumBytes: number): BodyTooLarge {
  return new BodyTooLarge(`the request body is larger than ${maximumBytes} bytes`);
}

/**
 * Reads a body as it comes.
 *
 * @throws BodyTooLarge, without reading the rest; or when the client leaves in the middle
 */
export function readBody(request: IncomingMessage, maximumBytes: number): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    if (request.destroyed) return void reject(new Error('the client left before its request was read'));
    const chunks: Buffer[] = [];
    let size = 0;
    request.on('data', (chunk: Buffer) => {
      size += chunk.length;
      if (size <= maximumBytes) return void chunks.push(chunk);
      request.pause();
      chunks.length = 0;
      reject(tooLarge(maximumBytes));
    });
    request.once('end', () => resolve(chunks.length > 1 ? Buffer.concat(chunks) : (chunks[0] ?? none)));
    request.once('error', reject);
    request.once('close', () => {
      // Closing is the end of every request.
      if (!request.complete) reject(new Error('the client left in the middle of its request'));
    });
  });
}
