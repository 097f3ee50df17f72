import type { IncomingMessage } from 'node:http';

/** The body is larger than this server takes. */
export class BodyTooLarge extends Error {}

const none = Buffer.alloc(0);

/**
 * Reads a body as it comes.
 *
 * @throws BodyTooLarge, without reading the rest; or when the client leaves in the middle
 */
export function readBody(request: IncomingMessage, maximumBytes: number): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    let size = 0;
    request.on('data', (chunk: Buffer) => {
      size += chunk.length;
      if (size <= maximumBytes) return void chunks.push(chunk);
      request.pause();
      chunks.length = 0;
      reject(new BodyTooLarge(`the request body is larger than ${maximumBytes} bytes`));
    });
    request.once('end', () => resolve(chunks.length > 1 ? Buffer.concat(chunks) : (chunks[0] ?? none)));
    request.once('error', reject);
    request.once('close', () => {
      // Closing is the end of every request.
      if (!request.complete) reject(new Error('the client left in the middle of its request'));
    });
  });
}
