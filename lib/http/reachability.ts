import { once } from 'node:events';
import { connect, createServer, type Socket } from 'node:net';
import { errnoText } from './failure.js';

const connectLimitMs = 2000;

export interface Endpoint {
  host: string;
  port: number;
}

/** Of an http or https URL. @throws when it is none */
export function endpointOf(url: string): Endpoint {
  const { hostname, port, protocol } = new URL(url);
  return { host: hostname.replace(/^\[|\]$/g, ''), port: Number(port) || (protocol === 'https:' ? 443 : 80) };
}

/** Why this program could not listen there; undefined when it could. */
export async function bindFault({ host, port }: Endpoint): Promise<string | undefined> {
  const server = createServer();
  try {
    server.listen(port, host);
    await once(server, 'listening');
    server.close();
    await once(server, 'close');
    return undefined;
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException;
    if (code === 'EADDRINUSE') return `${host}:${port} is taken by another program`;
    if (code === 'EADDRNOTAVAIL') return `${host} is no address of this machine`;
    return (cause as Error).message;
  }
}

/** Why nobody can be connected to there; undefined when somebody can. */
export function tcpFault({ host, port }: Endpoint): Promise<string | undefined> {
  return connectionFault(connect({ host, port }), 'connect');
}

/** Why a socket that was just made does not come to be connected, in 2 s; it is closed again. */
export async function connectionFault(socket: Socket, event: string): Promise<string | undefined> {
  socket.setTimeout(connectLimitMs, () => socket.destroy(new Error('no answer in time')));
  try {
    await once(socket, event);
    return undefined;
  } catch (cause) {
    return errnoText(cause);
  } finally {
    // A peer may refuse the certificate after the handshake; nobody waits for that here.
    socket.on('error', () => {});
    socket.destroy();
  }
}
