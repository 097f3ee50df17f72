import { setTimeout as sleep } from 'node:timers/promises';
import { abortable } from '../../../process/abortable.js';
import type { ContainerProcess, ProcessSignal } from '../../engine.js';
import { ConnectionError } from './garden-calls.js';
import type { RemoteProcess } from './remote-process.js';

export interface LastingProcessOptions {
  process: RemoteProcess;
  /** Joins the process again, and the same outputs. @throws the server's error; ConnectionError */
  rejoin: () => Promise<RemoteProcess>;
  /** Gives the process up. */
  signal: AbortSignal;
}

const firstPauseMs = 100;
const longestPauseMs = 5_000;

/**
 * A process of a Garden server that may be started again: processes outlive their server, so the connection is made
 * anew, and output goes on at the place where it was.
 */
export class LastingProcess implements ContainerProcess {
  readonly id: string;
  readonly #options: LastingProcessOptions;
  readonly #exited: Promise<number>;
  #current: RemoteProcess;
  #rejoining: Promise<RemoteProcess> | undefined;

  constructor(options: LastingProcessOptions) {
    this.id = options.process.id;
    this.#options = options;
    this.#current = options.process;
    this.#exited = this.#follow();
    // Whoever waits is told; that nobody does is no fault.
    this.#exited.catch(() => {});
  }

  /** Settles when the process is joined again, if it has to be. */
  async joined(): Promise<void> {
    await this.#rejoining?.catch(() => {});
  }

  async wait({ signal }: { signal?: AbortSignal } = {}): Promise<number> {
    return abortable(this.#exited, signal);
  }

  signal(signal: ProcessSignal): Promise<void> {
    return this.#current.signal(signal);
  }

  resize(columns: number, rows: number): Promise<void> {
    return this.#current.resize(columns, rows);
  }

  async #follow(): Promise<number> {
    for (;;) {
      try {
        return await this.#current.wait();
      } catch (error) {
        if (!this.#isWorthATry(error)) throw error;
        this.#rejoining = this.#rejoin();
        this.#current = await this.#rejoining;
      }
    }
  }

  async #rejoin(): Promise<RemoteProcess> {
    const { rejoin, signal } = this.#options;
    for (let pauseMs = firstPauseMs; ; pauseMs = Math.min(pauseMs * 2, longestPauseMs)) {
      await sleep(pauseMs, undefined, { signal }).catch(() => {});
      try {
        return await rejoin();
      } catch (error) {
        if (!this.#isWorthATry(error)) throw error;
      }
    }
  }

  #isWorthATry(error: unknown): boolean {
    return error instanceof ConnectionError && !this.#options.signal.aborted;
  }
}
