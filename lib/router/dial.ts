import { connect, type Socket } from 'node:net';
import { connect as connectTls } from 'node:tls';
import type { Endpoint } from './messages.js';

export interface DialOptions {
  timeoutMs: number;
  /** Authorities that vouch for encrypted endpoints, PEM; absent: the system's. */
  certificateAuthorities?: string | undefined;
}

/** The endpoint could not be reached: no byte of the request can have got to an app. */
export class DialError extends Error {
  readonly code: string | undefined;

  constructor(cause: NodeJS.ErrnoException) {
    super(cause.message, { cause });
    this.code = cause.code;
  }
}

/** Connects to an endpoint, with TLS where it wants that. @throws DialError */
export function dial(endpoint: Endpoint, options: DialOptions): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const { host, port } = endpoint;
    const socket: Socket = endpoint.isTls
      ? connectTls({
          host,
          port,
          servername: endpoint.serverName,
          ...(options.certificateAuthorities !== undefined && { ca: options.certificateAuthorities }),
        })
      : connect({ host, port });
    const timer = setTimeout(() => {
      const timeout: NodeJS.ErrnoException = new Error(`dial tcp ${host}:${port}: i/o timeout`);
      timeout.code = 'ETIMEDOUT';
      socket.destroy(timeout);
    }, options.timeoutMs);
    const fail = (error: NodeJS.ErrnoException) => {
      clearTimeout(timer);
      reject(new DialError(error));
    };
    socket.once('error', fail);
    socket.once(endpoint.isTls ? 'secureConnect' : 'connect', () => {
      clearTimeout(timer);
      socket.off('error', fail);
      resolve(socket);
    });
  });
}
