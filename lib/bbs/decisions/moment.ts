/** What a decision takes from outside: the time, and names for what it makes. */
export interface Moment {
  /** Nanoseconds since 1970. */
  now: bigint;
  /** A new UUID, for the modification tag of a row that is inserted. */
  newEpoch(): string;
}

export const nanosecondsPerSecond = 1_000_000_000n;
