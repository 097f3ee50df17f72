/** A limit in time on top of another signal; `clear` it when the work is done. */
export interface Deadline {
  signal: AbortSignal;
  clear(): void;
}

/** Aborts with `parent`'s reason when that aborts, with `reason` when the time is over. */
export function startDeadline(parent: AbortSignal, timeoutMs: number, reason: Error): Deadline {
  const abort = new AbortController();
  const follow = () => abort.abort(parent.reason);
  if (parent.aborted) follow();
  parent.addEventListener('abort', follow, { once: true });
  // A timer takes no longer time than this.
  const timer = setTimeout(() => abort.abort(reason), Math.min(timeoutMs, 2 ** 31 - 1));
  return {
    signal: abort.signal,
    clear() {
      clearTimeout(timer);
      parent.removeEventListener('abort', follow);
    },
  };
}
