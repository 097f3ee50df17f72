/** Datagrams that wait to be sent; when there is no more room the oldest go. */
export class DatagramQueue {
  #datagrams: Buffer[] = [];
  #head = 0;
  #bytes = 0;
  readonly #limits: { count: number; bytes: number };

  constructor(limits: { count: number; bytes: number }) {
    this.#limits = limits;
  }

  get length(): number {
    return this.#datagrams.length - this.#head;
  }

  /** @returns how many had to go for it */
  push(datagram: Buffer): number {
    this.#datagrams.push(datagram);
    this.#bytes += datagram.length;
    let dropped = 0;
    while (this.length > this.#limits.count || (this.#bytes > this.#limits.bytes && this.length > 1)) {
      this.shift();
      dropped += 1;
    }
    return dropped;
  }

  shift(): Buffer | undefined {
    const datagram = this.#datagrams[this.#head];
    if (datagram === undefined) return undefined;
    this.#head += 1;
    this.#bytes -= datagram.length;
    // Moving the rest up is paid for by as many that have left.
    if (this.#head * 2 > this.#datagrams.length) {
      this.#datagrams = this.#datagrams.slice(this.#head);
      this.#head = 0;
    }
    return datagram;
  }
}
