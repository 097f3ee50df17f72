import type { Duplex, Writable } from 'node:stream';
import type { Passage } from './passage.js';

/** Sends a request's body on. When the other end does not want the rest, that is read and thrown away. */
export function sendBody(passage: Passage, destination: Writable): void {
  const { request } = passage;
  passage.isBodyTaken = true;
  request.on('data', (chunk: Buffer) => {
    passage.bytesReceived += chunk.length;
  });
  request.pipe(destination);
  destination.once('close', () => {
    request.unpipe(destination);
    // The client's next request comes behind it on the same connection.
    request.resume();
  });
}

/** Sends the body of a request for an upgrade on, which the HTTP library leaves on the connection. */
export function sendUpgradeBody(passage: Passage, connection: Duplex, destination: Writable): void {
  passage.isBodyTaken = true;
  let missing = Number(passage.request.headers['content-length']);
  const take = (chunk: Buffer) => {
    const part = chunk.subarray(0, missing);
    missing -= part.length;
    passage.bytesReceived += part.length;
    if (missing > 0) {
      if (!destination.write(part)) connection.pause();
      return;
    }
    connection.off('data', take);
    connection.pause();
    if (chunk.length > part.length) connection.unshift(chunk.subarray(part.length));
    destination.end(part);
  };
  destination.on('drain', () => connection.resume());
  connection.on('data', take);
}
