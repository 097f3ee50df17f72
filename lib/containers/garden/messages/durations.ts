const nanosecondsPerMillisecond = 1e6;

/** Go's durations are nanoseconds; a time that is there but shorter than the clock can tell stays one. */
export function millisecondsOf(nanoseconds: number): number {
  const milliseconds = nanoseconds / nanosecondsPerMillisecond;
  return milliseconds > 0 ? Math.max(1, milliseconds) : 0;
}

export function nanosecondsOf(milliseconds: number): number {
  return Math.round(milliseconds * nanosecondsPerMillisecond);
}
