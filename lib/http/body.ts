import type { Readable } from 'node:stream';

/** A body has more bytes than its reader takes. */
export class BodyTooLargeError extends Error {
  constructor(readonly maximumBytes: number) {
    super(`the body has more than ${maximumBytes} bytes`);
  }
}

/**
 * Reads a body to its end. One that is too large is taken and thrown away, because a client that is cut off in the
 * middle of sending does not see the answer; the server's own limit of time ends what does not end.
 * @throws BodyTooLargeError as soon as it is known; the stream's error when it breaks
 */
export function readBody(body: Readable, maximumBytes: number): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    let chunks: Buffer[] = [];
    let bytes = 0;
    body.on('data', (chunk: Buffer) => {
      bytes += chunk.length;
      if (bytes <= maximumBytes) {
        chunks.push(chunk);
        return;
      }
      chunks = [];
      reject(new BodyTooLargeError(maximumBytes));
    });
    body.once('end', () => resolve(Buffer.concat(chunks)));
    body.once('error', reject);
    // A client that leaves in the middle ends the stream without an end.
    body.once('close', () => reject(new Error('the body was cut')));
  });
}
