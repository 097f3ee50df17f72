/** Keeps the beginning of a program's output, however much of it there is. */
export class OutputCollector {
  private readonly chunks: Buffer[] = [];
  private size = 0;

  constructor(private readonly limitBytes: number) {}

  readonly receive = (chunk: Buffer): void => {
    const kept = chunk.subarray(0, this.limitBytes - this.size);
    if (kept.length > 0) this.chunks.push(kept);
    this.size += kept.length;
  };

  /** Whether there may have been more than was kept. */
  get isFull(): boolean {
    return this.size >= this.limitBytes;
  }

  get text(): string {
    return Buffer.concat(this.chunks).toString();
  }
}
