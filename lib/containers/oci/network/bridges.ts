import { hardwareAddress } from './addresses.js';
import { ip } from './iproute.js';
import { configureHostLink } from './namespaces.js';

/** A bridge to make; its address is the gateway of the containers at it. */
export interface BridgeSpec {
  name: string;
  hostIp: string;
  prefixLength: number;
  mtu: number;
}

/**
 * Makes a bridge that is up and carries the gateway's address (docs/protocol/containers.md §3.5). It has a hardware
 * address of its own: without one it takes that of a port, another one when that port goes, and the containers that
 * remain would send to the one they remember.
 */
export async function createBridge({ name, hostIp, prefixLength, mtu }: BridgeSpec): Promise<void> {
  await ip(
    ['-batch', '-'],
    [
      `link add ${name} address ${hardwareAddress(hostIp)} type bridge`,
      `addr add ${hostIp}/${prefixLength} dev ${name}`,
      `link set ${name} mtu ${mtu} up`,
    ],
  );
  await configureHostLink(name);
}
