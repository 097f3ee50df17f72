import { constants } from 'node:fs';
import { open, readFile, rm, unlink } from 'node:fs/promises';

/** Another live process holds the pid file. */
export class ProcessRunningError extends Error {
  constructor(readonly pid: number) {
    super(`Process already running (pid=${pid}).`);
  }
}

/**
 * The file that tells which process is the agent (docs/protocol/dea.md §1.4): one agent per file. Made with O_EXCL, so
 * that of two agents that start at once one wins; a file of a dead process is taken over.
 */
export class PidFile {
  private isHeld = false;

  constructor(private readonly path: string) {}

  /** @throws ProcessRunningError */
  async acquire(): Promise<void> {
    for (;;) {
      try {
        const file = await open(this.path, constants.O_CREAT | constants.O_EXCL | constants.O_WRONLY, 0o644);
        await file.writeFile(`${process.pid}\n`);
        await file.close();
        this.isHeld = true;
        return;
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
      }
      await this.removeStale();
    }
  }

  /** Removes the file if it is ours. Idempotent. */
  async release(): Promise<void> {
    if (!this.isHeld) return;
    this.isHeld = false;
    await rm(this.path, { force: true });
  }

  private async removeStale(): Promise<void> {
    const pid = Number((await readFile(this.path, 'utf8').catch(() => '')).trim());
    if (Number.isInteger(pid) && pid > 0 && pid !== process.pid && isAlive(pid)) throw new ProcessRunningError(pid);
    await unlink(this.path).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== 'ENOENT') throw error;
    });
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}
