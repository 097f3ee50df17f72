import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';

/** How files in `bin` name what they run: `dist/dea/main.js` is made of `lib/dea/main.ts`. */
const mention = /\bdist\/([\w/-]+)\.js\b/g;

/**
 * What must be built: every program that a file in `bin` runs, so that a new one needs no second place to be named in.
 *
 * @returns paths of sources below `lib`, without their ending: `dea/main`
 */
export async function findPrograms(projectDirectory: string): Promise<string[]> {
  const directory = join(projectDirectory, 'bin');
  const texts = await Promise.all(
    (await readdir(directory)).sort().map((name) => readFile(join(directory, name), 'utf8')),
  );
  return [...new Set(texts.flatMap((text) => [...text.matchAll(mention)].map(([, path]) => path!)))];
}
