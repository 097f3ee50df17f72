import { availableParallelism, totalmem } from 'node:os';
import type { Capacity, ContainerMetrics } from '../../engine.js';
import { integer, message, type Shape } from '../json/decode.js';
import { type JsonValue, unlessZero } from '../json/encode.js';
import { nanosecondsOf } from './durations.js';

const uint64 = integer('uint64');

/** The kernel's counters that Garden tells, in its order; `memory.stat` has those of its version, the others are 0. */
const memoryCounters = [
  ...['active_anon', 'active_file', 'cache', 'hierarchical_memory_limit', 'inactive_anon', 'inactive_file'],
  ...['mapped_file', 'pgfault', 'pgmajfault', 'pgpgin', 'pgpgout', 'rss', 'total_active_anon', 'total_active_file'],
  ...['total_cache', 'total_inactive_anon', 'total_inactive_file', 'total_mapped_file', 'total_pgfault'],
  ...['total_pgmajfault', 'total_pgpgin', 'total_pgpgout', 'total_rss', 'total_unevictable', 'unevictable', 'swap'],
  ...['hierarchical_memsw_limit', 'total_swap'],
];
const laterCounters = ['anon', 'file', 'swapcached'];

const memoryStat = message(
  'ContainerMemoryStat',
  Object.fromEntries(
    [...memoryCounters, 'TotalUsageTowardLimit', ...laterCounters].map((name) => [name, uint64]),
  ) as Record<string, Shape<number>>,
);

export const containerMetrics = message('Metrics', {
  MemoryStat: memoryStat,
  CPUStat: message('ContainerCPUStat', { Usage: uint64, User: uint64, System: uint64 }),
  DiskStat: message('ContainerDiskStat', {
    TotalBytesUsed: uint64,
    TotalInodesUsed: uint64,
    ExclusiveBytesUsed: uint64,
    ExclusiveInodesUsed: uint64,
  }),
  NetworkStat: message('ContainerNetworkStat', { RxBytes: uint64, TxBytes: uint64 }),
  PidStat: message('ContainerPidStat', { Current: uint64, Max: uint64 }),
  Age: integer('int64'),
});

export interface MetricsOptions {
  /** Whether traffic is told; a container that is only checked for health has none to tell. */
  hasNetwork: boolean;
}

/** Body of Metrics (docs/protocol/containers.md §2.3). */
export function metricsBody(metrics: ContainerMetrics, { hasNetwork }: MetricsOptions): JsonValue {
  const { cpu, disk, imageBytes, network, pids, ageMs } = metrics;
  const age = nanosecondsOf(ageMs);
  return {
    MemoryStat: memoryBody(metrics.memory),
    CPUStat: { Usage: cpu.usageNs, User: cpu.userNs ?? 0, System: cpu.systemNs ?? 0 },
    DiskStat: {
      TotalBytesUsed: disk.bytesUsed + imageBytes,
      TotalInodesUsed: disk.inodesUsed,
      ExclusiveBytesUsed: disk.bytesUsed,
      ExclusiveInodesUsed: disk.inodesUsed,
    },
    NetworkStat: hasNetwork && network ? { RxBytes: network.receivedBytes, TxBytes: network.sentBytes } : null,
    PidStat: { Current: pids.current, Max: pids.max },
    Age: age,
    CPUEntitlement: Math.round(((cpu.shares ?? defaultShares) * percentPerShare() * age) / 100),
  };
}

/** Metrics of a container that could not be asked. */
export const emptyMetricsBody: JsonValue = {
  MemoryStat: memoryBody({
    ...{ usageBytes: 0, rssBytes: 0, cacheBytes: 0, inactiveFileBytes: 0, swapBytes: 0, counters: {} },
  }),
  CPUStat: { Usage: 0, User: 0, System: 0 },
  DiskStat: { TotalBytesUsed: 0, TotalInodesUsed: 0, ExclusiveBytesUsed: 0, ExclusiveInodesUsed: 0 },
  NetworkStat: null,
  PidStat: { Current: 0, Max: 0 },
  Age: 0,
  CPUEntitlement: 0,
};

export function metricsFrom(body: NonNullable<ReturnType<typeof containerMetrics>>): ContainerMetrics {
  const { CPUStat: cpu, DiskStat: disk, NetworkStat: network, PidStat: pids } = body;
  const { TotalUsageTowardLimit: usageBytes = 0, ...counters } = definedOnly(body.MemoryStat ?? {});
  const exclusiveBytes = disk?.ExclusiveBytesUsed ?? 0;
  return {
    memory: {
      usageBytes,
      rssBytes: counters.total_rss || counters.anon || 0,
      cacheBytes: counters.total_cache || counters.file || 0,
      inactiveFileBytes: counters.total_inactive_file || counters.inactive_file || 0,
      swapBytes: counters.total_swap || counters.swapcached || 0,
      counters,
    },
    cpu: { usageNs: cpu?.Usage ?? 0, userNs: cpu?.User ?? 0, systemNs: cpu?.System ?? 0 },
    disk: { bytesUsed: exclusiveBytes, inodesUsed: disk?.ExclusiveInodesUsed ?? 0 },
    imageBytes: Math.max(0, (disk?.TotalBytesUsed ?? 0) - exclusiveBytes),
    ...(network && { network: { receivedBytes: network.RxBytes ?? 0, sentBytes: network.TxBytes ?? 0 } }),
    pids: { current: pids?.Current ?? 0, max: pids?.Max ?? 0 },
    ageMs: (body.Age ?? 0) / 1e6,
  };
}

export const capacity = message('Capacity', {
  memory_in_bytes: uint64,
  disk_in_bytes: uint64,
  schedulable_disk_in_bytes: uint64,
  max_containers: uint64,
});

export function capacityBody(given: Capacity): JsonValue {
  return {
    memory_in_bytes: given.memoryBytes,
    disk_in_bytes: given.diskBytes,
    schedulable_disk_in_bytes: unlessZero(given.schedulableDiskBytes),
    max_containers: given.maxContainers,
  };
}

export function capacityFrom(body: NonNullable<ReturnType<typeof capacity>>): Capacity {
  const { schedulable_disk_in_bytes: schedulableDiskBytes } = body;
  return {
    memoryBytes: body.memory_in_bytes ?? 0,
    diskBytes: body.disk_in_bytes ?? 0,
    ...(schedulableDiskBytes && { schedulableDiskBytes }),
    maxContainers: body.max_containers ?? 0,
  };
}

/** Of a control group that was never given any. */
const defaultShares = 1024;

/** Shares stand for megabytes of memory; all of the memory is entitled to all of the processors. */
function percentPerShare(): number {
  return (100 * availableParallelism()) / (totalmem() / 2 ** 20);
}

/** Kernels of the second control group version have no counters of the first's names; the sums are told under both. */
function memoryBody(memory: ContainerMetrics['memory']): JsonValue {
  const { rssBytes: rss, cacheBytes: cache, inactiveFileBytes, swapBytes: swap } = memory;
  const inactiveFile = inactiveFileBytes;
  const told: Record<string, number> = {
    ...{ rss, cache, swap, inactive_file: inactiveFile },
    ...{ total_rss: rss, total_cache: cache, total_swap: swap, total_inactive_file: inactiveFile },
    ...memory.counters,
  };
  const entry = (name: string): [string, number] => [name, told[name] ?? 0];
  return Object.fromEntries([
    ...memoryCounters.map(entry),
    ['TotalUsageTowardLimit', memory.usageBytes],
    ...laterCounters.map(entry),
  ]);
}

function definedOnly(counters: Record<string, number | undefined>): Record<string, number> {
  const told = Object.entries(counters).filter((entry): entry is [string, number] => entry[1] !== undefined);
  return Object.fromEntries(told);
}
