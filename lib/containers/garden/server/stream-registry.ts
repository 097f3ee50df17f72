import type { OutputStream } from './output-stream.js';

/** The outputs of a process, for one client. */
export interface OutputStreams {
  stdout: OutputStream;
  stderr: OutputStream;
}

/** How long a client may take to ask for the outputs of a process that has ended. */
const retentionMs = 60_000;

/** The outputs that clients may ask for, by number (docs/protocol/containers.md §2.5). */
export class StreamRegistry {
  readonly #streams = new Map<string, OutputStreams>();
  readonly #timers = new Map<string, NodeJS.Timeout>();
  #count = 0;

  /** @returns the number: decimal, from 1 */
  add(streams: OutputStreams): string {
    this.#count += 1;
    const id = String(this.#count);
    this.#streams.set(id, streams);
    return id;
  }

  find(id: string): OutputStreams | undefined {
    return this.#streams.get(id);
  }

  /** The process has ended: what was not asked for is kept for a while. */
  expire(id: string): void {
    if (!this.#streams.has(id)) return;
    this.#timers.set(
      id,
      setTimeout(() => this.close(id), retentionMs),
    );
  }

  /** The client is gone; what he was reading ends by itself. */
  abandon(id: string): void {
    const streams = this.#forget(id);
    streams?.stdout.abandon();
    streams?.stderr.abandon();
  }

  /** Cuts off who is reading. */
  close(id: string): void {
    const streams = this.#forget(id);
    streams?.stdout.close();
    streams?.stderr.close();
  }

  /** Cuts off all. Idempotent. */
  stop(): void {
    for (const id of [...this.#streams.keys()]) this.close(id);
  }

  #forget(id: string): OutputStreams | undefined {
    const streams = this.#streams.get(id);
    this.#streams.delete(id);
    clearTimeout(this.#timers.get(id));
    this.#timers.delete(id);
    return streams;
  }
}
