import { nanosecondsPerSecond } from './moment.js';

/** Of a domain that never expires, as it is stored (docs/protocol/bbs.md §5). */
export const neverExpires = 9_223_372_036_854_775_807n;

/** When a domain that is upserted now expires, ns. @param ttlSeconds 0 is for ever */
export function domainExpiry(ttlSeconds: number, now: bigint): bigint {
  return ttlSeconds === 0 ? neverExpires : now + BigInt(ttlSeconds) * nanosecondsPerSecond;
}

/** Whether it is listed: peers expect it to go up to half a second early, since now is rounded to the second. */
export function isFresh(expiry: bigint, now: bigint): boolean {
  const half = nanosecondsPerSecond / 2n;
  return expiry > ((now + half) / nanosecondsPerSecond) * nanosecondsPerSecond;
}

/** @param domains when each expires, ns */
export function freshDomains(domains: ReadonlyMap<string, bigint>, now: bigint): Set<string> {
  return new Set([...domains].filter(([, expiry]) => isFresh(expiry, now)).map(([domain]) => domain));
}

/** Whose rows can go. @param domains when each expires, ns */
export function expiredDomains(domains: ReadonlyMap<string, bigint>, now: bigint): string[] {
  return [...domains].filter(([, expiry]) => !isFresh(expiry, now)).map(([domain]) => domain);
}
