import type { NetworkLease } from '../ports.js';

/** A network namespace with its link to the host and its address: what a container is attached to. */
export interface Attachment {
  /** Unique in its engine; link and chains carry it. A number for a /30 of the pool, else `s` and a number. */
  id: string;
  /** Name of the namespace, and of its link on the host. */
  name: string;
  hostIp: string;
  containerIp: string;
  prefixLength: number;
  /** The subnet is a shared one; its containers meet at this bridge. */
  bridge?: string;
}

/** What a lease says about the attachment. */
export function attachmentOf(lease: NetworkLease): Attachment {
  const { hostInterface, hostIp, containerIp, prefixLength, bridge } = lease;
  return {
    id: hostInterface.slice(hostInterface.indexOf('-') + 1),
    name: hostInterface,
    hostIp,
    containerIp,
    prefixLength,
    ...(typeof bridge === 'string' && { bridge }),
  };
}
