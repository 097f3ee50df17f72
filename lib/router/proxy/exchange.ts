import { type ClientRequest, request as httpRequest, type IncomingMessage } from 'node:http';
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
  /** The body is sent when the endpoint asks for it, or says nothing for a while. */
  awaitsContinue: boolean;
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

/** Many apps know nothing of asking. */
const continueTimeoutMs = 1000;
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
    else if (!outgoing.sendBody) request.end();
    else if (outgoing.awaitsContinue) sendWhenAsked(request, outgoing.sendBody);
    else outgoing.sendBody(request);
  });
}

/** An endpoint that answers otherwise does not want the body. */
function sendWhenAsked(request: ClientRequest, sendBody: (destination: Writable) => void): void {
  const send = () => {
    settle();
    sendBody(request);
  };
  const settle = () => {
    clearTimeout(timer);
    request.off('continue', send).off('response', settle).off('close', settle);
  };
  const timer = setTimeout(send, continueTimeoutMs);
  request.once('continue', send).once('response', settle).once('close', settle);
  request.flushHeaders();
}
