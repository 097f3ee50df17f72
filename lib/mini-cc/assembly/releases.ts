/** What has been started, to be stopped in the opposite order. */
export class Releases {
  private readonly pending: (() => void | Promise<void>)[] = [];

  add(release: () => void | Promise<void>): void {
    this.pending.push(release);
  }

  /** Idempotent. */
  async run(): Promise<void> {
    for (let release = this.pending.pop(); release; release = this.pending.pop()) await release();
  }
}
