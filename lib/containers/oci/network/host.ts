import { readFile, writeFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:net';
import { networkInterfaces } from 'node:os';
import { type Cidr, formatAddress, overlaps } from './addresses.js';

export interface Route {
  interface: string;
  destination: Cidr;
  isDirect: boolean;
}

/** Parses `/proc/net/route`: addresses are little-endian hexadecimal. */
export function parseRoutes(text: string): Route[] {
  return text
    .split('\n')
    .slice(1)
    .filter((line) => line.trim() !== '')
    .map((line) => {
      const [name = '', destination = '', gateway = '', , , , , mask = ''] = line.split(/\s+/);
      const bits = parseAddressHex(mask).toString(2);
      return {
        interface: name,
        destination: { base: parseAddressHex(destination), prefixLength: bits.replaceAll('0', '').length },
        isDirect: parseAddressHex(gateway) === 0,
      };
    });
}

function parseAddressHex(text: string): number {
  return Buffer.from(text, 'hex').readUInt32LE(0);
}

/** IPv4 routes of the host's main table. Reads a file, starts no process. */
export async function readRoutes(): Promise<Route[]> {
  return parseRoutes(await readFile('/proc/net/route', 'utf8'));
}

/** The interface that carries the default route; undefined on a host without one. */
export function defaultInterface(routes: Route[]): string | undefined {
  return routes.find((route) => route.destination.prefixLength === 0)?.interface;
}

/** The first IPv4 address of an interface. */
export function addressOf(name: string): string | undefined {
  return networkInterfaces()[name]?.find((address) => address.family === 'IPv4')?.address;
}

/** MTU of an interface. */
export async function mtuOf(name: string): Promise<number> {
  return Number(await readFile(`/sys/class/net/${name}/mtu`, 'utf8'));
}

/**
 * Listens on a port, to keep it from everybody else on this host while it is mapped; undefined when somebody has it.
 * Nobody ever connects: the firewall rewrites packets for the port before they get here.
 */
export function holdPort(port: number): Promise<Server | undefined> {
  return new Promise((resolve) => {
    const server = createServer((socket) => socket.destroy());
    server.unref();
    server.once('error', () => resolve(undefined));
    server.listen({ port, host: '0.0.0.0', exclusive: true }, () => resolve(server));
  });
}

/** For log lines and errors. */
export function describeRoute({ destination, interface: name }: Route): string {
  return `${formatAddress(destination.base)}/${destination.prefixLength} on ${name}`;
}

/** Lets the host forward packets. It stays so when the engine goes: others may rely on it by then. */
export async function enableForwarding(): Promise<void> {
  await writeFile('/proc/sys/net/ipv4/ip_forward', '1');
}

/**
 * A route of the host that a network must not take packets from: one of a network that the host is attached to, or
 * one made for just these addresses, of at least `narrowest` bits. A wide route through a gateway may well contain it.
 */
export function routeInTheWay(routes: Route[], network: Cidr, narrowest: number): Route | undefined {
  return routes.find(
    (route) =>
      route.destination.prefixLength > 0 &&
      (route.isDirect || route.destination.prefixLength >= narrowest) &&
      overlaps(route.destination, network),
  );
}

/** The interface that has an IPv4 address. */
export function interfaceWith(address: string): string | undefined {
  return Object.entries(networkInterfaces()).find(([, addresses]) =>
    addresses?.some((own) => own.family === 'IPv4' && own.address === address),
  )?.[0];
}
