/** Since when the state has been kept up without a gap; unix seconds. */
export interface FreshnessMark {
  timestamp: number;
}

export interface Freshness {
  isActualFresh: boolean;
  isDesiredFresh: boolean;
}

/** The state is too old, or too young, to act on. */
export class NotFreshError extends Error {
  constructor(freshness: Freshness) {
    super(describe(freshness));
  }
}

/** @throws NotFreshError in upstream's words (docs/protocol/health-manager.md §5) */
export function requireFresh(freshness: Freshness): void {
  if (!freshness.isActualFresh || !freshness.isDesiredFresh) throw new NotFreshError(freshness);
}

/**
 * What agents report is fresh when heartbeats have been saved for as long as a lost agent takes to be noticed: nobody is
 * started before every agent had its say (docs/protocol/health-manager.md §5).
 *
 * @param mark undefined when there is none, or it has expired
 * @param minimumAge seconds
 * @param now unix seconds
 */
export function isActualFresh(mark: FreshnessMark | undefined, minimumAge: number, now: number): boolean {
  return mark !== undefined && now - mark.timestamp >= minimumAge;
}

function describe({ isActualFresh: isActual, isDesiredFresh: isDesired }: Freshness): string {
  if (!isActual && !isDesired) return 'Actual and desired state are not fresh';
  return isActual ? 'Desired state is not fresh' : 'Actual state is not fresh';
}
