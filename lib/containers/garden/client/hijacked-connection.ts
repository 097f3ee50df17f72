import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { encodeJson } from '../json/encode.js';
import { routeTo } from '../routes.js';
import {
  type Call,
  ConnectionError,
  connectOptions,
  failureFrom,
  jsonHeaders,
  type ServerAddress,
} from './garden-calls.js';

const headEnd = '\r\n\r\n';
const maximumHeadBytes = 64 * 1024;

/**
 * Sends a request after whose answer the connection is the caller's, paused: what comes behind the answer's head is
 * bare bytes, whatever that head says, so no decoder of HTTP may touch it (docs/protocol/containers.md §2.5).
 *
 * @throws the server's error; ConnectionError
 */
export async function hijack(address: ServerAddress, call: Call, signal: AbortSignal): Promise<Socket> {
  signal.throwIfAborted();
  const options = connectOptions(address);
  const socket = 'socketPath' in options ? connect(options.socketPath) : connect(options.port, options.host);
  const giveUp = () => socket.destroy(new ConnectionError('garden: the client is closed'));
  signal.addEventListener('abort', giveUp, { once: true });
  socket.once('close', () => signal.removeEventListener('abort', giveUp));
  // Whoever waits for something of the connection learns of its failure by that.
  socket.on('error', () => {});
  try {
    await once(socket, 'connect');
    socket.write(requestText(call));
    const head = await readHead(socket);
    const status = Number(/^HTTP\/1\.[01] (\d{3})/.exec(head)?.[1] ?? 0);
    if (status === 200 || status === 201) return socket;
    throw failureFrom(status, await readRest(socket, head));
  } catch (error) {
    socket.destroy();
    const isOurs = !(error instanceof Error) || !('code' in error);
    throw isOurs ? error : new ConnectionError(`garden: ${error.message}`, { cause: error });
  }
}

function requestText({ name, parameters, body }: Call): string {
  const { method, path } = routeTo(name, parameters);
  const text = body === undefined ? '' : encodeJson(body);
  const headers = Object.entries({ Host: 'api', ...(body !== undefined && jsonHeaders(text)) });
  const lines = [`${method} ${path} HTTP/1.1`, ...headers.map(([field, value]) => `${field}: ${value}`)];
  return `${lines.join('\r\n')}${headEnd}${text}`;
}

/** Leaves what comes behind the head to be read from the socket. */
async function readHead(socket: Socket): Promise<string> {
  let received = Buffer.alloc(0);
  for await (const part of socket.iterator({ destroyOnReturn: false })) {
    received = Buffer.concat([received, part]);
    const end = received.indexOf(headEnd);
    if (end < 0 && received.length < maximumHeadBytes) continue;
    if (end < 0) break;
    socket.pause();
    const rest = received.subarray(end + headEnd.length);
    if (rest.length > 0) socket.unshift(rest);
    return received.toString('latin1', 0, end);
  }
  throw new ConnectionError('garden: the server closed the connection without an answer');
}

/** The body of an answer that is not hijacked. */
async function readRest(socket: Socket, head: string): Promise<Buffer> {
  const length = Number(/^content-length: *(\d+)/im.exec(head)?.[1] ?? Number.POSITIVE_INFINITY);
  const parts: Buffer[] = [];
  let received = 0;
  for await (const part of socket) {
    parts.push(part);
    received += part.length;
    if (received >= length) break;
  }
  return Buffer.concat(parts);
}
