import { encode } from '../../messages/codec.js';
import { type ActualLRPInternalRoute, ActualLRPNetInfo } from '../../messages/models.js';

/** Whether what reps say of instances is what the board holds already. */

export function isSameNetInfo(a: ActualLRPNetInfo, b: ActualLRPNetInfo): boolean {
  return a === b || encode(ActualLRPNetInfo, a).equals(encode(ActualLRPNetInfo, b));
}

/** In the same order. */
export function isSameRoutes(a: readonly ActualLRPInternalRoute[], b: readonly ActualLRPInternalRoute[]): boolean {
  return a.length === b.length && a.every(({ hostname }, index) => hostname === b[index]!.hostname);
}

/** In any order (docs/protocol/bbs.md §12.1). */
export function hasSameHosts(a: readonly ActualLRPInternalRoute[], b: readonly ActualLRPInternalRoute[]): boolean {
  if (a.length !== b.length) return false;
  if (a.length === 0) return true;
  const hosts = new Set(a.map(({ hostname }) => hostname));
  return b.every(({ hostname }) => hosts.has(hostname));
}

export function isSameTags(a: ReadonlyMap<string, string>, b: ReadonlyMap<string, string>): boolean {
  return a.size === b.size && [...a].every(([key, value]) => b.get(key) === value);
}
