import { stat } from 'node:fs/promises';
import { isIPv4 } from 'node:net';
import type { ContainerSpec } from '../../engine.js';
import { WardenError } from '../errors.js';
import type { Request } from '../protocol/messages.js';
import { readNetwork } from './net-out.js';

/** What the server adds to what a Create request asks for. */
export interface CreationDefaults {
  rootfs: string;
  /** Undefined when disk limits are disabled. */
  diskLimits: { bytes: number; inodes: number } | undefined;
  /** Networks that every container may reach: addresses, CIDRs or ranges. */
  allowNetworks: readonly string[];
}

/**
 * The engine's description of what a Create request asks for (docs/protocol/containers.md §1.4).
 *
 * @throws WardenError in Warden's words for what does not exist or makes no sense
 */
export async function readCreation(
  request: Request<'Create'>,
  defaults: CreationDefaults,
): Promise<Omit<ContainerSpec, 'handle' | 'properties'>> {
  const rootfs = request.rootfs || defaults.rootfs;
  if (!rootfs.startsWith('/') || !(await exists(rootfs))) throw new WardenError(`rootfs ${rootfs} not found`);
  for (const { srcPath, dstPath } of request.bindMounts) {
    if (!srcPath.startsWith('/') || !(await exists(srcPath))) {
      throw new WardenError(`Source path for bind mount does not exist: ${srcPath}`);
    }
    if (!dstPath.startsWith('/')) throw new WardenError(`dst_path: bind mount destination ${dstPath} is not absolute`);
  }
  return {
    rootfs,
    bindMounts: request.bindMounts.map(({ srcPath, dstPath, mode }) => ({
      source: srcPath,
      destination: dstPath,
      mode: mode === 'RO' ? 'ro' : 'rw',
    })),
    ...(request.network && { network: subnetOf(request.network) }),
    ...(defaults.diskLimits && { limits: { disk: defaults.diskLimits } }),
    ...(defaults.allowNetworks.length > 0 && {
      netOut: [{ protocol: 'all', networks: defaults.allowNetworks.map(readNetwork) }],
    }),
  };
}

/** Whether an address is the one that a container has in the /30 of `network`. */
export function isContainerAddressIn(network: string, address: string): boolean {
  const { start } = readNetwork(subnetOf(network));
  const parts = start.split('.');
  return [...parts.slice(0, 3), String(Number(parts[3]) + containerOffset)].join('.') === address;
}

/** The container has the second address of its network, after that of the host. */
const containerOffset = 2;

/** @throws WardenError */
function subnetOf(address: string): string {
  if (!isIPv4(address)) throw new WardenError(`Could not acquire network: ${address}`);
  return `${readNetwork(`${address}/30`).start}/30`;
}

function exists(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false,
  );
}
