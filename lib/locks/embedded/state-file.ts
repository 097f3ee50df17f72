import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { writeFileAtomically } from '../../files/atomic-write.js';
import { resourceTypes } from '../lock-store.js';

const heldResource = z.object({
  key: z.string(),
  owner: z.string(),
  value: z.string(),
  type: z.enum(resourceTypes),
  ttlMs: z.number().positive(),
  /** Of this grant. */
  id: z.string(),
  index: z.int().positive(),
  token: z.int().positive(),
});

const lockState = z.object({ lastToken: z.int().min(0), held: z.array(heldResource) });

/** A key that is held, as far as that outlives a process. */
export type HeldResource = z.output<typeof heldResource>;

export type LockState = z.output<typeof lockState>;

const fileName = 'locks.json';

/** What the process before had in its hands. @throws naming the file, when it cannot be read or understood */
export async function readStateFile(directory: string): Promise<LockState> {
  const path = join(directory, fileName);
  try {
    return lockState.parse(JSON.parse(await readFile(path, 'utf8')));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return { lastToken: 0, held: [] };
    throw new Error(`${path} cannot be read: ${(error as Error).message}`, { cause: error });
  }
}

export async function writeStateFile(directory: string, state: LockState): Promise<void> {
  const held = state.held.map(({ key, owner, value, type, ttlMs, id, index, token }) => {
    return { key, owner, value, type, ttlMs, id, index, token };
  });
  await writeFileAtomically(join(directory, fileName), `${JSON.stringify({ ...state, held })}\n`);
}
