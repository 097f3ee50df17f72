const alphabet = '0123456789abcdefghijklmnopqrstuv';
const digits = 11;
const bitsPerDigit = 5n;

/**
 * Ids of containers: 11 digits to the base of 32, from a counter that begins with the time in microseconds
 * (docs/protocol/containers.md §1.4). Names of network links are built with them, which have at most 15 characters.
 */
export class ContainerIds {
  #counter: bigint;

  /** @param startMs milliseconds since the epoch */
  constructor(startMs: number) {
    this.#counter = BigInt(startMs) * 1000n;
  }

  next(): string {
    this.#counter += 1n;
    return formatContainerId(this.#counter);
  }
}

/** The lowest 55 bits of a number, the most significant digit first. */
export function formatContainerId(counter: bigint): string {
  return Array.from({ length: digits }, (_, index) => {
    const shift = bitsPerDigit * BigInt(digits - 1 - index);
    return alphabet[Number((counter >> shift) & 31n)];
  }).join('');
}
