import { readFileSync } from 'node:fs';
import { type RlimitSpec, rlimitNames } from '../../engine.js';

type RlimitName = (typeof rlimitNames)[number];

/** How `/proc/<pid>/limits` calls them. */
const titles: Record<RlimitName, string> = {
  as: 'Max address space',
  core: 'Max core file size',
  cpu: 'Max cpu time',
  data: 'Max data size',
  fsize: 'Max file size',
  locks: 'Max file locks',
  memlock: 'Max locked memory',
  msgqueue: 'Max msgqueue size',
  nice: 'Max nice priority',
  nofile: 'Max open files',
  nproc: 'Max processes',
  rss: 'Max resident set',
  rtprio: 'Max realtime priority',
  sigpending: 'Max pending signals',
  stack: 'Max stack size',
};

/** Hard limits of this process, which what it starts inherits. */
export function ownHardLimits(): Record<RlimitName, number> {
  return parseHardLimits(readFileSync('/proc/self/limits', 'latin1'));
}

/** The hard limits in the text of a `limits` file of `/proc`. */
export function parseHardLimits(text: string): Record<RlimitName, number> {
  const hardLimitOf = (name: RlimitName) => {
    const hard = new RegExp(`^${titles[name]}\\s+\\S+\\s+(\\S+)`, 'm').exec(text)?.[1];
    return hard === undefined || hard === 'unlimited' ? Number.POSITIVE_INFINITY : Number(hard);
  };
  return Object.fromEntries(rlimitNames.map((name) => [name, hardLimitOf(name)])) as Record<RlimitName, number>;
}

/**
 * Arguments of `prlimit` for those limits that only the host's root may set: once in a user namespace a runtime can
 * lower a limit, but not raise it above what it inherited.
 */
export function raisedLimits(rlimits: RlimitSpec, hardLimits: Record<RlimitName, number>): string[] {
  return rlimitNames.flatMap((name) => {
    const limit = rlimits[name];
    return limit !== undefined && limit > hardLimits[name] ? [`--${name}=${limit}:${limit}`] : [];
  });
}
