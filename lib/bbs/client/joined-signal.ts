/** Aborts with the first of others that does; `release` when it is needed no more. */
export interface JoinedSignal {
  readonly signal: AbortSignal;
  abort(reason: Error): void;
  /** Idempotent. */
  release(): void;
}

/**
 * Unlike with `AbortSignal.any`, nothing of the joined signal stays with those it follows, which may live as long as the
 * program.
 */
export function joinSignals(...followed: readonly (AbortSignal | undefined)[]): JoinedSignal {
  const controller = new AbortController();
  const others = followed.filter((signal) => signal !== undefined);
  const follow = ({ target }: Event) => controller.abort((target as AbortSignal).reason);
  for (const signal of others) {
    if (signal.aborted) controller.abort(signal.reason);
    else signal.addEventListener('abort', follow, { once: true });
  }
  return {
    signal: controller.signal,
    abort: (reason) => controller.abort(reason),
    release() {
      for (const signal of others) signal.removeEventListener('abort', follow);
    },
  };
}
