/** Smaller bodies are not counted: they are nearly all, and as many as there are connections are not much. */
const smallBytes = 64 * 1024;

interface Waiting {
  bytes: number;
  resolve: () => void;
}

/**
 * How many bytes of large bodies may be in memory at the same time. Who comes when they are used up waits, and sends
 * nothing meanwhile, until those before him have their answers.
 */
export class BodyBudget {
  readonly #waiting: Waiting[] = [];
  #freeBytes: number;

  /** @param totalBytes at least what one body may have */
  constructor(totalBytes: number) {
    this.#freeBytes = totalBytes;
  }

  /** @returns gives back what was taken; to be called once */
  async take(bytes: number): Promise<() => void> {
    if (bytes <= smallBytes) return () => {};
    if (this.#waiting.length > 0 || bytes > this.#freeBytes) {
      await new Promise<void>((resolve) => this.#waiting.push({ bytes, resolve }));
    } else {
      this.#freeBytes -= bytes;
    }
    return () => this.#giveBack(bytes);
  }

  #giveBack(bytes: number): void {
    this.#freeBytes += bytes;
    for (let next = this.#waiting[0]; next && next.bytes <= this.#freeBytes; next = this.#waiting[0]) {
      this.#waiting.shift();
      this.#freeBytes -= next.bytes;
      next.resolve();
    }
  }
}
