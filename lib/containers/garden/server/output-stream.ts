import type { ContainerProcess } from '../../engine.js';
import type { TakenConnection } from './gated-connection.js';
import { Outlet } from './outlet.js';

/** Attaches a sink to one output of a process. */
export type AttachOutput = (sink: Outlet) => Promise<ContainerProcess>;

/**
 * One output of a process for one client, who may ask for it once: what is delivered is gone
 * (docs/protocol/containers.md §2.5).
 */
export class OutputStream {
  readonly #attach: AttachOutput;
  /** Present when output is held for a reader who has not come yet. */
  readonly #captured: { outlet: Outlet; process: ContainerProcess } | undefined;
  readonly #ended: Promise<void>;
  readonly #givingUp = new AbortController();
  #isClaimed = false;

  private constructor(
    attach: AttachOutput,
    ended: Promise<void>,
    captured?: { outlet: Outlet; process: ContainerProcess },
  ) {
    this.#attach = attach;
    this.#ended = ended;
    this.#captured = captured;
  }

  /** Output from the moment when a reader comes: until then the engine keeps it. @param ended of the process */
  static onDemand(attach: AttachOutput, ended: Promise<void>): OutputStream {
    return new OutputStream(attach, ended);
  }

  /** Output from now on. */
  static async capture(attach: AttachOutput, ended: Promise<void>): Promise<OutputStream> {
    const outlet = new Outlet();
    // Who reads it learns of its failure.
    outlet.on('error', () => {});
    return new OutputStream(attach, ended, { outlet, process: await attach(outlet) });
  }

  /** Gives the output to a reader; the connection is closed at the process's end, and the output with the connection. */
  async serve({ socket, hasEnded }: TakenConnection): Promise<void> {
    // A reader has nothing to say; that he goes shows as the end of what he says.
    if (hasEnded) socket.destroy();
    socket.once('end', () => socket.destroy()).resume();
    if (this.#isClaimed || this.#givingUp.signal.aborted) {
      await Promise.race([this.#ended, closed(socket)]);
      socket.destroySoon();
      return;
    }
    this.#isClaimed = true;
    const outlet = this.#captured?.outlet ?? new Outlet();
    outlet.on('error', () => {}).connect(socket);
    const gone = new AbortController();
    outlet.once('close', () => gone.abort());
    this.#givingUp.signal.addEventListener('abort', () => outlet.destroy(), { once: true });
    try {
      const process = this.#captured?.process ?? (await this.#attach(outlet));
      await process.wait({ signal: gone.signal });
    } catch {
      // The container or the reader is gone, or the exit is lost: whichever it is, there is no more to give.
    } finally {
      if (!outlet.destroyed) outlet.end();
      await closed(socket);
    }
  }

  /** The client will not ask for it any more. */
  abandon(): void {
    if (!this.#isClaimed) this.close();
  }

  /** Cuts the reader off. Idempotent. */
  close(): void {
    this.#givingUp.abort();
    this.#captured?.outlet.destroy();
  }
}

function closed(socket: { destroyed: boolean; once(event: 'close', listener: () => void): unknown }): Promise<void> {
  if (socket.destroyed) return Promise.resolve();
  return new Promise((resolve) => void socket.once('close', resolve));
}
