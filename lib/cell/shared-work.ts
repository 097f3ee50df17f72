import { abortable } from '../process/abortable.js';

/**
 * One piece of work that several wait for. Each may leave by a signal of its own; the work is given up when the last
 * one has left.
 */
export class SharedWork<Result> {
  private readonly abort = new AbortController();
  private readonly result: Promise<Result>;
  private members = 0;

  constructor(work: (signal: AbortSignal) => Promise<Result>) {
    this.result = work(this.abort.signal);
    // Every member learns of a failure through `join`; when all have left, nobody does and nobody needs to.
    this.result.catch(() => {});
  }

  /** Whether the work was given up; who comes now must start it anew. */
  get isAbandoned(): boolean {
    return this.abort.signal.aborted;
  }

  /** Waits for the result. @throws the work's error, or the signal's reason when it comes first */
  async join(signal?: AbortSignal): Promise<Result> {
    signal?.throwIfAborted();
    this.members += 1;
    try {
      return await abortable(this.result, signal);
    } finally {
      this.members -= 1;
      if (this.members === 0) void this.abandon(new Error('nobody waits for it any more'));
    }
  }

  /** Gives the work up for all; without effect when it is done. Resolves when it has ended. */
  async abandon(reason: Error): Promise<void> {
    this.abort.abort(reason);
    await this.result.catch(() => {});
  }
}
