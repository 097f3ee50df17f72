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

/** Content of a v2 group's files `memory.stat` and so on; of swap `0` where the kernel does not count it. */
export interface MemoryFilesV2 {
  stat: string;
  max: string;
  swapCurrent: string;
  swapMax: string;
}

/** Memory of a v2 group and all groups below it; its counters have the names of v1 beside their own. */
export function memoryFromV2(files: MemoryFilesV2): CgroupStats['memory'] {
  const values = parseFlatKeyed(files.stat);
  return {
    rssBytes: values.get('anon') ?? 0,
    cacheBytes: values.get('file') ?? 0,
    inactiveFileBytes: values.get('inactive_file') ?? 0,
    swapBytes: Number(files.swapCurrent),
    counters: { ...countersOfV1(files, values), ...Object.fromEntries(values) },
  };
}

/** `memory.limit_in_bytes` of a v1 group without a limit. */
const unlimitedMemory = 2 ** 63 - 4096;
/** What v1 and v2 call the same. */
const sameNames = [
  ...['inactive_anon', 'active_anon', 'inactive_file', 'active_file', 'unevictable', 'pgfault', 'pgmajfault'],
];

/** What `memory.stat` of v1 would say (docs/protocol/containers.md §1.3); v2 does not count `pgpgin` and `pgpgout`. */
function countersOfV1(
  { max, swapCurrent, swapMax }: MemoryFilesV2,
  values: Map<string, number>,
): Record<string, number> {
  const own = new Map([
    ['cache', values.get('file') ?? 0],
    ['rss', values.get('anon') ?? 0],
    ['mapped_file', values.get('file_mapped') ?? 0],
    ['swap', Number(swapCurrent)],
    ...sameNames.map((name): [string, number] => [name, values.get(name) ?? 0]),
  ]);
  const [limit, swapLimit] = [max, swapMax].map(parseLimitOrNone);
  return {
    ...Object.fromEntries(own),
    ...Object.fromEntries([...own].map(([name, value]) => [`total_${name}`, value])),
    hierarchical_memory_limit: limit ?? unlimitedMemory,
    hierarchical_memsw_limit: limit === undefined || swapLimit === undefined ? unlimitedMemory : limit + swapLimit,
  };
}

function parseLimitOrNone(text: string): number | undefined {
  return text.trim() === 'max' ? undefined : Number(text);
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
