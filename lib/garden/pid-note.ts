import { readFile, rm } from 'node:fs/promises';
import { writeFileAtomically } from '../files/atomic-write.js';

/**
 * A file that tells a monitor the number of the server's process (`server.pidfile`, docs/protocol/containers.md §1.7).
 * It keeps nobody from anything: what it says of a process that is gone is overwritten.
 */
export class PidNote {
  constructor(private readonly path: string) {}

  /** @throws when there is no directory for it */
  async write(): Promise<void> {
    await writeFileAtomically(this.path, `${process.pid}\n`, { mode: 0o644, durable: false });
  }

  /** Removes it unless it is another's by now. Idempotent. */
  async remove(): Promise<void> {
    const text = await readFile(this.path, 'utf8').catch(() => '');
    if (text.trim() === String(process.pid)) await rm(this.path, { force: true });
  }
}
