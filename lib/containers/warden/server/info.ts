import type { ContainerInfo, ContainerMetrics, Limits } from '../../engine.js';
import type { WardenState } from '../errors.js';
import type { InfoFields } from '../protocol/messages.js';

/** What an InfoResponse is made of. */
export interface InfoSources {
  state: WardenState;
  /** The server's own, beside those of the engine. */
  events: readonly string[];
  /** Jobs that have not ended. */
  jobIds: number[];
  info: ContainerInfo;
  metrics: ContainerMetrics;
  limits: Limits;
  /** Whether disk limits are enabled at all. */
  hasDiskLimits: boolean;
}

const unlimitedBandwidth = 0xffffffff;
/** `memory.limit_in_bytes` of a group without a limit. */
const unlimitedMemory = 2 ** 63 - 4096;
const nsPerTick = 10_000_000;

/** Fields of `memory.stat` on v1 that are told as they are, also as `total_*`. */
const counterNames = [
  ...(['cache', 'rss', 'mapped_file', 'pgpgin', 'pgpgout', 'swap', 'pgfault', 'pgmajfault'] as const),
  ...(['inactive_anon', 'active_anon', 'inactive_file', 'active_file', 'unevictable'] as const),
];
/** The same under their names on v2, which counts the groups below, too. */
const namesOnV2: Partial<Record<(typeof counterNames)[number], string>> = {
  cache: 'file',
  rss: 'anon',
  mapped_file: 'file_mapped',
};

/** An InfoResponse (docs/protocol/containers.md §1.3). Events are a set: each is told once. */
export function describeContainer(sources: InfoSources): InfoFields {
  const { info, metrics, limits } = sources;
  const { rate = unlimitedBandwidth, burst = unlimitedBandwidth } = limits.bandwidth ?? {};
  return {
    state: sources.state,
    events: [...new Set([...info.events, ...sources.events])],
    hostIp: info.hostIp,
    containerIp: info.containerIp,
    containerPath: info.containerPath,
    memoryStat: describeMemory(metrics.memory, limits.memoryBytes),
    cpuStat: {
      usage: metrics.cpu.usageNs,
      user: Math.round((metrics.cpu.userNs ?? 0) / nsPerTick),
      system: Math.round((metrics.cpu.systemNs ?? 0) / nsPerTick),
    },
    ...(sources.hasDiskLimits && {
      diskStat: { bytesUsed: metrics.disk.bytesUsed, inodesUsed: metrics.disk.inodesUsed },
    }),
    bandwidthStat: { inRate: rate, inBurst: burst, outRate: rate, outBurst: burst },
    jobIds: sources.jobIds,
  };
}

/** What LimitMemory tells for a container without a limit that it knows of. */
export function memoryLimitOf(memory: ContainerMetrics['memory']): number {
  return memory.counters.hierarchical_memory_limit ?? unlimitedMemory;
}

function describeMemory(memory: ContainerMetrics['memory'], limitBytes: number | undefined): Record<string, number> {
  const { counters } = memory;
  const stat = new Map<string, number>();
  for (const name of counterNames) {
    const value = counters[name] ?? counters[namesOnV2[name] ?? name] ?? 0;
    stat.set(name, value);
    stat.set(`total_${name}`, counters[`total_${name}`] ?? value);
  }
  // Clients add these three without asking whether they are there, also where the kernel has no counters.
  stat.set('total_rss', memory.rssBytes);
  stat.set('total_cache', memory.cacheBytes);
  stat.set('total_inactive_file', memory.inactiveFileBytes);
  stat.set('hierarchical_memory_limit', limitBytes ?? memoryLimitOf(memory));
  stat.set('hierarchical_memsw_limit', counters.hierarchical_memsw_limit ?? limitBytes ?? unlimitedMemory);
  return Object.fromEntries([...stat].map(([name, value]) => [camelCase(name), value]));
}

function camelCase(name: string): string {
  return name.replace(/_(\w)/g, (_, letter: string) => letter.toUpperCase());
}
