import { ExhaustedError } from '../../errors.js';
import { type Cidr, formatAddress, formatCidr } from './addresses.js';

/** A /30: the host end has the first address, the container the second. */
export interface Subnet {
  /** Position in the pool; names of links and chains carry it. */
  index: number;
  cidr: Cidr;
  hostIp: string;
  containerIp: string;
}

export const subnetPrefixLength = 30;
const subnetSize = 4;

/**
 * The /30 networks of a pool, first in, first out. A released one rests before it is handed out again, so that packets
 * of old connections do not meet a new container (warden's `release_delay`).
 */
export class SubnetPool {
  readonly #pool: Cidr;
  readonly #restMs: number;
  #free: { index: number; ripeAt: number }[];

  /** @param firstIndex where to begin: engines that share a pool begin at different places */
  constructor(options: { pool: Cidr; restMs: number; firstIndex?: number }) {
    this.#pool = options.pool;
    this.#restMs = options.restMs;
    const count = 2 ** Math.max(subnetPrefixLength - options.pool.prefixLength, 0);
    const first = (options.firstIndex ?? 0) % count;
    this.#free = Array.from({ length: count }, (_, position) => ({ index: (first + position) % count, ripeAt: 0 }));
  }

  /**
   * Takes the subnet that was free the longest, passing over those that are refused; `ripeInMs` is how long it must
   * still rest.
   *
   * @throws ExhaustedError
   */
  acquire(now: number, isRefused: (subnet: Subnet) => boolean): { subnet: Subnet; ripeInMs: number } {
    const position = this.#free.findIndex(({ index }) => !isRefused(this.subnet(index)));
    const entry = this.#free[position];
    if (!entry) throw new ExhaustedError(`no subnet of ${formatCidr(this.#pool)} is free`);
    this.#free.splice(position, 1);
    return { subnet: this.subnet(entry.index), ripeInMs: Math.max(entry.ripeAt - now, 0) };
  }

  /** Takes a certain subnet out of the pool, if it is in it. */
  claim(index: number): void {
    this.#free = this.#free.filter((entry) => entry.index !== index);
  }

  release(index: number, now: number): void {
    if (this.#free.some((entry) => entry.index === index)) return;
    this.#free.push({ index, ripeAt: now + this.#restMs });
  }

  subnet(index: number): Subnet {
    const base = this.#pool.base + index * subnetSize;
    return {
      index,
      cidr: { base, prefixLength: subnetPrefixLength },
      hostIp: formatAddress(base + 1),
      containerIp: formatAddress(base + 2),
    };
  }
}
