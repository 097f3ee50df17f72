import type { Limits } from '../../containers/engine.js';
import type { DeaConfig } from '../config.js';

const mebibyte = 1024 * 1024;

/** Limits of an app's container (docs/protocol/dea.md §9.2). */
export function instanceLimits(limits: { mem: number; disk: number }, config: DeaConfig['instance']): Limits {
  const wanted = Math.floor(limits.mem / config.memory_to_cpu_share_ratio);
  return {
    memoryBytes: limits.mem * mebibyte,
    disk: { bytes: limits.disk * mebibyte, inodes: config.disk_inode_limit },
    // Two shares are the least that the kernel knows.
    cpuShares: Math.max(2, config.min_cpu_share_limit, Math.min(config.max_cpu_share_limit, wanted)),
    // The user's process limit does not bind root; this one binds all of the container.
    maxPids: config.nproc_limit,
    ...(config.bandwidth_limit && { bandwidth: config.bandwidth_limit }),
  };
}

/** Limits of a staging container; its sizes are the reservation's (docs/protocol/dea.md §17.2). */
export function stagingLimits(size: { memoryMb: number; diskMb: number }, config: DeaConfig['staging']): Limits {
  return {
    memoryBytes: size.memoryMb * mebibyte,
    disk: { bytes: size.diskMb * mebibyte, inodes: config.disk_inode_limit },
    cpuShares: Math.max(2, config.cpu_limit_shares),
    maxPids: config.nproc_limit,
    ...(config.bandwidth_limit && { bandwidth: config.bandwidth_limit }),
  };
}
