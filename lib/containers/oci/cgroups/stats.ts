import type { CgroupStats } from '../ports.js';

/** Reads `name value` lines, as `memory.stat`, `cpu.stat` and `memory.events` have them. */
export function parseFlatKeyed(text: string): Map<string, number> {
  return new Map(
    text
      .split('\n')
      .filter((line) => line !== '')
      .map((line) => {
        const [name = '', value = '0'] = line.split(' ');
        return [name, Number(value)];
      }),
  );
}

/** A number, or `max` for none; 0 stands for no limit. */
export function parseLimit(text: string): number {
  const value = text.trim();
  return value === 'max' ? 0 : Number(value);
}

/** Memory of a v1 group and all groups below it. */
export function memoryFromV1(memoryStat: string): CgroupStats['memory'] {
  const values = parseFlatKeyed(memoryStat);
  return {
    rssBytes: values.get('total_rss') ?? 0,
    cacheBytes: values.get('total_cache') ?? 0,
    inactiveFileBytes: values.get('total_inactive_file') ?? 0,
    swapBytes: values.get('total_swap') ?? 0,
    counters: Object.fromEntries(values),
  };
}

/** Memory of a v2 group and all groups below it. `memorySwap` is empty where the kernel does not count swap. */
export function memoryFromV2(memoryStat: string, memorySwap: string): CgroupStats['memory'] {
  const values = parseFlatKeyed(memoryStat);
  return {
    rssBytes: values.get('anon') ?? 0,
    cacheBytes: values.get('file') ?? 0,
    inactiveFileBytes: values.get('inactive_file') ?? 0,
    swapBytes: Number(memorySwap),
    counters: Object.fromEntries(values),
  };
}

/** What `cpuacct.stat` counts in, 100 a second on every Linux that is built for general use. */
const nsPerTick = 10_000_000;

/** Processor time of a v1 group and all groups below it: nanoseconds in all, its parts in ticks. */
export function cpuFromV1(usage: string, stat: string): CgroupStats['cpu'] {
  const ticks = parseFlatKeyed(stat);
  return {
    usageNs: Number(usage),
    userNs: (ticks.get('user') ?? 0) * nsPerTick,
    systemNs: (ticks.get('system') ?? 0) * nsPerTick,
  };
}

/** Processor time of a v2 group and all groups below it. */
export function cpuFromV2(cpuStat: string): CgroupStats['cpu'] {
  const microseconds = parseFlatKeyed(cpuStat);
  const nanoseconds = (name: string) => (microseconds.get(name) ?? 0) * 1000;
  return {
    usageNs: nanoseconds('usage_usec'),
    userNs: nanoseconds('user_usec'),
    systemNs: nanoseconds('system_usec'),
  };
}

const fewestShares = 2;
const mostShares = 262_144;
const mostWeight = 10_000;

/**
 * v2's `cpu.weight` for v1's `cpu.shares`, as current runtimes convert: 2, 1024 and 262144 shares become 1, 100 and
 * 10000 (docs/protocol/containers.md §3.7).
 */
export function cpuWeight(shares: number): number {
  if (shares <= fewestShares) return 1;
  if (shares >= mostShares) return mostWeight;
  const l = Math.log2(shares);
  return Math.ceil(10 ** ((l * l + 125 * l) / 612 - 7 / 34));
}
