/**
 * Keeps a file up with a state that changes often: changes that come while a write is under way share the next one.
 */
export class CoalescedWrite {
  private isDirty = false;
  private writing: Promise<void> | undefined;

  /** @param write puts the present state on the disk */
  constructor(private readonly write: () => Promise<void>) {}

  /** Resolves when the state of this moment is on the disk. @throws the disk's error */
  async save(): Promise<void> {
    this.isDirty = true;
    while (this.isDirty) {
      if (this.writing) {
        // Its failure concerns those who asked for it.
        await this.writing.catch(() => {});
        continue;
      }
      this.isDirty = false;
      this.writing = this.write().finally(() => {
        this.writing = undefined;
      });
      return this.writing;
    }
    // Another caller's write took this change along; if it is still under way, wait for it.
    await this.writing;
  }
}
