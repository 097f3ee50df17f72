import { request as httpRequest, type IncomingMessage } from 'node:http';
import type { Duplex, Writable } from 'node:stream';
import type { Connection } from './dial.js';

export interface OutgoingRequest {
  method: string;
  /** The request target, byte for byte as the client sent it. */
  target: string;
  /** Name and value in turn. */
  headers: string[];
  /** Whether the wish for another protocol is among the headers. */
  asksUpgrade: boolean;
  /** Begins to send the body, if there is one. */
  sendBody: ((destination: Writable) => void) | undefined;
}

/** An endpoint's answer, of which the head has come. */
export interface Answer {
  message: IncomingMessage;
  /** The connection now speaks another protocol (101); `head` is what has already come of it. */
  switched?: { socket: Duplex; head: Buffer };
}

/** The app changes the protocol though nobody asked it to. */
export class UnaskedUpgradeError extends Error {
  constructor() {
    super('malformed HTTP response: 101 to a request without Upgrade');
  }
}

const maximumHeaderBytes = 1024 * 1024;

/**
 * Sends one request on a connection of its own, and resolves with the head of the answer. The signal cuts the
 * connection at any time, also while the answer's body comes.
 *
 * @throws what broke the connection, or the signal's reason
 */
export function exchange(connection: Connection, outgoing: OutgoingRequest, signal: AbortSignal): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const request = httpRequest({
      method: outgoing.method,
      path: outgoing.target,
      headers: outgoing.headers,
      setHost: false,
      createConnection: () => connection.socket,
      maxHeaderSize: maximumHeaderBytes,
    });
    request.maxHeadersCount = 0;
    const cut = () => request.destroy(signal.reason);
    signal.addEventListener('abort', cut, { once: true });
    request.once('close', () => signal.removeEventListener('abort', cut));
    // After the answer has begun, its own end tells what went wrong.
    request.on('error', reject);
    request.once('response', (message) => resolve({ message }));
    request.once('upgrade', (message, socket, head) => {
      if (outgoing.asksUpgrade) resolve({ message, switched: { socket, head } });
      else reject(new UnaskedUpgradeError());
    });
    if (signal.aborted) cut();
    else if (outgoing.sendBody) outgoing.sendBody(request);
    else request.end();
  });
}
