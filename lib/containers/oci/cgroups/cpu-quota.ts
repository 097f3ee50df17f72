/** How much processor time a group may use in each period, microseconds. */
export interface CpuQuota {
  quota: number;
  period: number;
}

const periodUs = 100_000;
/** The kernel takes no less. */
const smallestQuotaUs = 1_000;

/**
 * The most processor time for a number of shares (docs/protocol/containers.md §3.7).
 *
 * @param perShareUs microseconds in each period for each share; absent: no quota
 */
export function cpuQuotaOf(shares: number, perShareUs: number | undefined): CpuQuota | undefined {
  if (perShareUs === undefined) return undefined;
  return { quota: Math.max(smallestQuotaUs, Math.round(shares * perShareUs)), period: periodUs };
}
