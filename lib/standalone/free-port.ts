import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { createServer } from 'node:net';

/** The wanted port of an address if nobody listens on it, else another free one. */
export async function freePort(wanted: number, host = '127.0.0.1'): Promise<number> {
  return (await probe(wanted, host)) ?? (await probe(0, host))!;
}

/** As `freePort`, of UDP. */
export async function freeUdpPort(wanted: number, host = '127.0.0.1'): Promise<number> {
  return (await probeUdp(wanted, host)) ?? (await probeUdp(0, host))!;
}

async function probeUdp(port: number, host: string): Promise<number | undefined> {
  const socket = createSocket('udp4');
  try {
    socket.bind(port, host);
    await once(socket, 'listening');
    return socket.address().port;
  } catch {
    return undefined;
  } finally {
    socket.close();
  }
}

async function probe(port: number, host: string): Promise<number | undefined> {
  const server = createServer();
  try {
    server.listen(port, host);
    await once(server, 'listening');
  } catch {
    return undefined;
  }
  const { port: bound } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return bound;
}
