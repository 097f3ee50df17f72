import { createSocket } from 'node:dgram';

/**
 * The address that the machine would use towards the world: the source that the kernel picks for a datagram to a
 * foreign address, of which none is sent (docs/protocol/dea.md §1.5). Loopback on a machine without a route.
 */
export function localAddress(): Promise<string> {
  return new Promise((resolve) => {
    const socket = createSocket('udp4');
    const finish = (address: string) => {
      socket.close();
      resolve(address);
    };
    socket.once('error', () => finish('127.0.0.1'));
    socket.connect(1, '1.2.3.4', () => finish(socket.address().address));
  });
}
