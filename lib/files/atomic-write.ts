import { open, rename, rm } from 'node:fs/promises';
import { dirname } from 'node:path';

export interface AtomicWriteOptions {
  /** Permission bits of the finished file. @default 0o600 */
  mode?: number;
  /** Wait until the bytes and the name are on the disk. @default true */
  durable?: boolean;
  /** Where the temporary file is made; must be on the same file system. @default the target's directory */
  temporaryDirectory?: string;
}

let sequence = 0;

/**
 * Replaces `path` in one step: a reader, or a process started after `kill -9`, sees the old content or the new one,
 * never an empty or half-written file.
 */
export async function writeFileAtomically(
  path: string,
  content: string | Buffer,
  options: AtomicWriteOptions = {},
): Promise<void> {
  const { mode = 0o600, durable = true, temporaryDirectory = dirname(path) } = options;
  sequence += 1;
  const temporary = `${temporaryDirectory}/.${process.pid}-${sequence}.tmp`;
  try {
    const file = await open(temporary, 'w', mode);
    try {
      await file.writeFile(content);
      if (durable) await file.sync();
    } finally {
      await file.close();
    }
    await rename(temporary, path);
  } catch (error) {
    await rm(temporary, { force: true });
    throw error;
  }
  if (durable) await syncDirectory(dirname(path));
}

/** Makes the names in a directory durable, so that a rename survives a power cut. */
export async function syncDirectory(path: string): Promise<void> {
  const directory = await open(path, 'r');
  try {
    await directory.sync();
  } finally {
    await directory.close();
  }
}
