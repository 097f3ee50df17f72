import { randomUUID } from 'node:crypto';
import { mkdir, readFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { writeFileAtomically } from '../files/atomic-write.js';

/**
 * The owner's name of a presence, kept in a file: a component that restarts renews its presence, instead of colliding
 * with itself until the old one expires (docs/protocol/edge.md §8.2).
 *
 * @throws when the file is there and unreadable or empty, or cannot be written
 */
export async function persistentOwnerId(path: string): Promise<string> {
  try {
    const id = (await readFile(path, 'utf8')).trim();
    if (id === '') throw new Error(`${path}: holds no owner id`);
    return id;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
  }
  const id = randomUUID();
  await mkdir(dirname(path), { recursive: true });
  await writeFileAtomically(path, `${id}\n`);
  return id;
}
