import { mkdir, readFile, rm } from 'node:fs/promises';
import { homedir } from 'node:os';
import { dirname, join } from 'node:path';
import { z } from 'zod';
import { writeFileAtomically } from '../files/atomic-write.js';

/** Where a running Cloud Controller and router answer on this machine, for the command line beside them. */
export interface Target {
  /** Base URL of the Cloud Controller. */
  url: string;
  /** Bearer token of its client API: a secret. */
  token: string;
  /** Base URL of the router, as apps are reached through it. */
  router?: string | undefined;
}

const targetSchema = z.object({ url: z.url(), token: z.string().min(1), router: z.url().optional() });

/** Path of the user's target file: below `$XDG_RUNTIME_DIR` when there is one, else below the home directory. */
export function targetFilePath(environment: NodeJS.ProcessEnv = process.env): string {
  const runtimeDirectory = environment.XDG_RUNTIME_DIR;
  if (runtimeDirectory) return join(runtimeDirectory, 'isthmus', 'target.json');
  return join(environment.HOME ?? homedir(), '.isthmus', 'target.json');
}

/** Tells the command line where to go; only the user may read the file (mode 0600). */
export async function writeTargetFile(target: Target, path = targetFilePath()): Promise<void> {
  await mkdir(dirname(path), { recursive: true, mode: 0o700 });
  await writeFileAtomically(path, `${JSON.stringify(target)}\n`, { mode: 0o600 });
}

/**
 * The target that a running program wrote; undefined when there is none.
 * @throws when the file is there and unreadable or malformed
 */
export async function readTargetFile(path = targetFilePath()): Promise<Target | undefined> {
  let text: string;
  try {
    text = await readFile(path, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
  try {
    return targetSchema.parse(JSON.parse(text));
  } catch (error) {
    throw new Error(`${path} is no target file`, { cause: error });
  }
}

/** Removes the file, if it still names the given Cloud Controller and not one that was started later. */
export async function removeTargetFile(url: string, path = targetFilePath()): Promise<void> {
  const current = await readTargetFile(path).catch(() => undefined);
  if (current?.url === url) await rm(path, { force: true });
}
