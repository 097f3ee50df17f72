import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import type { BindMount } from '../../containers/engine.js';

const directoriesSchema = z.array(z.string().startsWith('/'));

/**
 * What a staging container needs of the builder's bundle: the bundle itself, and the directories that its Node.js reads
 * by absolute paths (lib/lifecycle/bundle/external-modules.ts).
 *
 * @param bundle host directory of the bundle
 * @param destination where it is in the container
 */
export async function builderMounts(bundle: string, destination: string): Promise<BindMount[]> {
  const text = await readFile(join(bundle, 'external.json'), 'utf8');
  const directories = directoriesSchema.parse(JSON.parse(text));
  return [
    { source: bundle, destination, mode: 'ro' },
    ...directories.map(
      (path): BindMount => ({ source: join(bundle, 'external', path), destination: path, mode: 'ro' }),
    ),
  ];
}
