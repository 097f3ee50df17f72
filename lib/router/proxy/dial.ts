import { connect, isIP, type Socket } from 'node:net';
import { connect as connectTls } from 'node:tls';
import type { Endpoint } from '../messages.js';

export interface DialOptions {
  /** For the connection. */
  dialTimeoutMs: number;
  /** For the TLS handshake on it. */
  handshakeTimeoutMs: number;
  /** Authorities that vouch for encrypted endpoints, PEM; undefined: the system's. */
  certificateAuthorities: string | string[] | undefined;
}

/** A connection to an endpoint, ready for a request. */
export interface Connection {
  socket: Socket;
  /** The router's end of it, `ip:port`. */
  localAddress: string;
}

/** The endpoint could not be connected to: no byte of the request can have reached an app. */
export class DialError extends Error {
  readonly code: string;

  constructor(
    readonly phase: 'connect' | 'handshake',
    override readonly cause: NodeJS.ErrnoException,
  ) {
    super(cause.message, { cause });
    this.code = cause.code ?? '';
  }
}

/** Connects to an endpoint, with TLS where it wants that. @throws DialError */
export async function dial(endpoint: Endpoint, options: DialOptions, signal: AbortSignal): Promise<Connection> {
  const plain = connect({ host: endpoint.host, port: endpoint.port, noDelay: true });
  await ready(plain, 'connect', options.dialTimeoutMs, signal);
  const localAddress = `${plain.localAddress}:${plain.localPort}`;
  if (!endpoint.isTls) return { socket: plain, localAddress };
  // What breaks the connection below is told by the encrypted one.
  plain.on('error', () => {});
  const encrypted = connectTls({
    socket: plain,
    ...identity(endpoint),
    ...(options.certificateAuthorities !== undefined && { ca: options.certificateAuthorities }),
  });
  await ready(encrypted, 'handshake', options.handshakeTimeoutMs, signal);
  return { socket: encrypted, localAddress };
}

/** The name that the certificate must carry; the address where the registration gave none. */
function identity({ host, serverName }: Endpoint): { host: string; servername?: string } {
  const name = serverName || host;
  // An address cannot be asked for by name.
  return isIP(name) ? { host: name } : { host: name, servername: name };
}

function ready(socket: Socket, phase: DialError['phase'], timeoutMs: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const fail = (error: NodeJS.ErrnoException) => {
      settle();
      socket.destroy();
      reject(new DialError(phase, error));
    };
    const timer = setTimeout(() => {
      fail(Object.assign(new Error('i/o timeout'), { code: 'ETIMEDOUT' }));
    }, timeoutMs);
    const giveUp = () => fail(Object.assign(new Error('context canceled'), { code: 'ABORT_ERR' }));
    const succeed = () => {
      settle();
      resolve();
    };
    const readyEvent = phase === 'handshake' ? 'secureConnect' : 'connect';
    const settle = () => {
      clearTimeout(timer);
      signal.removeEventListener('abort', giveUp);
      socket.off('error', fail);
      socket.off(readyEvent, succeed);
      // Until the request takes the socket over, and after this failed, nobody else may be listening.
      socket.on('error', () => {});
    };
    socket.once('error', fail);
    socket.once(readyEvent, succeed);
    signal.addEventListener('abort', giveUp, { once: true });
    if (signal.aborted) giveUp();
  });
}
