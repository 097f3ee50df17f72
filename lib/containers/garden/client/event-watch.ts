import { errorData, type Logger } from '../../../logging/logger.js';
import type { ContainerEvent, ContainerInfo } from '../../engine.js';

export interface EventWatchOptions {
  /** Infos of these containers; asking must not count as a reference to them. */
  ask: (handles: string[]) => Promise<Map<string, ContainerInfo | Error>>;
  logger: Logger;
}

type Listener = (event: ContainerEvent) => void;

const intervalMs = 1_000;

/** Tells of events by asking for them from time to time: the Garden API has no other way. */
export class EventWatch {
  readonly #options: EventWatchOptions;
  readonly #listeners = new Map<string, Set<Listener>>();
  /** How many events of each container were told; unknown before the first look. */
  readonly #counts = new Map<string, number>();
  #timer: NodeJS.Timeout | undefined;
  #isLooking = false;

  constructor(options: EventWatchOptions) {
    this.#options = options;
  }

  /** Listens until the returned function is called; events of before are not told. */
  listen(handle: string, listener: Listener): () => void {
    const listeners = this.#listeners.get(handle) ?? new Set();
    this.#listeners.set(handle, listeners.add(listener));
    this.#timer ??= setInterval(() => this.#look(), intervalMs);
    this.#look();
    return () => {
      listeners.delete(listener);
      if (listeners.size > 0) return;
      this.#listeners.delete(handle);
      this.#counts.delete(handle);
      if (this.#listeners.size === 0) this.stop();
    };
  }

  /** Idempotent. */
  stop(): void {
    clearInterval(this.#timer);
    this.#timer = undefined;
  }

  #look(): void {
    if (this.#isLooking) return;
    this.#isLooking = true;
    this.#options
      .ask([...this.#listeners.keys()])
      .then((infos) => this.#tell(infos))
      .catch((error: unknown) => this.#options.logger.warn('garden-client.events-unknown', errorData(error)))
      .finally(() => {
        this.#isLooking = false;
      });
  }

  #tell(infos: Map<string, ContainerInfo | Error>): void {
    for (const [handle, info] of infos) {
      const listeners = this.#listeners.get(handle);
      if (info instanceof Error || listeners === undefined) continue;
      const told = this.#counts.get(handle) ?? info.events.length;
      this.#counts.set(handle, info.events.length);
      for (const event of info.events.slice(told)) {
        if (event !== 'out of memory') continue;
        for (const listener of listeners) listener(event);
      }
    }
  }
}
