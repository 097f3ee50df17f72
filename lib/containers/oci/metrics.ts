import type { ContainerMetrics } from '../engine.js';
import type { Host } from './host.js';
import type { NetworkLease, VolumeLease } from './ports.js';

export interface MetricsSubject {
  /** Control group, as a handle. */
  cgroup: string;
  volume: VolumeLease | undefined;
  network: NetworkLease;
  /** Milliseconds since the epoch. */
  createdAt: number;
  cpuShares?: number | undefined;
}

/** What a container, or a pea in one, uses. Reads files and starts no process. */
export async function collectMetrics(host: Host, subject: MetricsSubject): Promise<ContainerMetrics> {
  const { cgroup, volume, network, createdAt, cpuShares } = subject;
  const [stats, disk, imageBytes, traffic] = await Promise.all([
    host.cgroups.stats(cgroup),
    volume ? host.volumes.usage(volume) : { bytesUsed: 0, inodesUsed: 0 },
    volume ? host.volumes.imageBytes(volume) : 0,
    host.network.traffic(network),
  ]);
  const { rssBytes, cacheBytes, inactiveFileBytes, swapBytes } = stats.memory;
  return {
    memory: { ...stats.memory, usageBytes: Math.max(0, rssBytes + cacheBytes + swapBytes - inactiveFileBytes) },
    cpu: { ...stats.cpu, ...(cpuShares !== undefined && { shares: cpuShares }) },
    disk,
    imageBytes,
    ...(traffic && { network: traffic }),
    pids: stats.pids,
    ageMs: Date.now() - createdAt,
  };
}
