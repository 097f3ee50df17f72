import { ExhaustedError } from '../../errors.js';

/**
 * Host ports for mappings, first in, first out: a released port is the last to be used again, and a restarted engine
 * goes on where the last one stopped instead of handing out ports that clients still remember.
 */
export class PortPool {
  readonly #start: number;
  readonly #size: number;
  #free: number[];

  /** @param offset position in the pool to begin with */
  constructor(options: { start: number; size: number; offset: number }) {
    if (options.start + options.size > 65536) throw new RangeError('the port pool goes beyond port 65535');
    this.#start = options.start;
    this.#size = options.size;
    const first = options.offset % options.size;
    this.#free = Array.from(
      { length: options.size },
      (_, position) => options.start + ((first + position) % options.size),
    );
  }

  /**
   * Takes the first free port that nobody refuses; refused ones go to the end.
   *
   * @throws ExhaustedError
   */
  async acquire(isUsable: (port: number) => Promise<boolean>): Promise<number> {
    for (let left = this.#free.length; left > 0; left -= 1) {
      const port = this.#free.shift();
      if (port === undefined) break;
      if (await isUsable(port)) return port;
      this.#free.push(port);
    }
    throw new ExhaustedError('port pool is exhausted');
  }

  /** Takes a certain port out of the pool, if it is in it. */
  claim(port: number): void {
    this.#free = this.#free.filter((free) => free !== port);
  }

  /** Ports that do not belong to the pool are none of its business. */
  release(port: number): void {
    if (port < this.#start || port >= this.#start + this.#size || this.#free.includes(port)) return;
    this.#free.push(port);
  }

  /** Position to begin with after a restart. */
  get offset(): number {
    return (this.#free[0] ?? this.#start) - this.#start;
  }
}
