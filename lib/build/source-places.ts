import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { dirname, join, relative } from 'node:path';
import type { Plugin } from 'esbuild';

const ownAddress = /\bimport\.meta\.url\b/g;
const neighbour = /\bnew URL\(\s*(['"])(\.[^'"]*)\.js\1\s*,\s*import\.meta\.url\s*\)/g;

/**
 * Makes `import.meta.url` mean for each source where it would be if it were compiled by itself: `lib/a/b.ts` is
 * `dist/a/b.js`, in whatever bundle it is. So addresses that are relative to it, those of other files of the build
 * among them, are the same from the sources and from every bundle.
 *
 * A source that is named as `new URL('./x.js', import.meta.url)` runs by itself, as a worker thread or as a program of
 * its own: it is built, too, to where that address leads.
 *
 * @param found called with the path of each such source below `lib`, without its ending
 */
export function sourcePlaces(sourceDirectory: string, found: (path: string) => void): Plugin {
  return {
    name: 'source-places',
    setup(build) {
      build.onLoad({ filter: /\.ts$/ }, async ({ path }) => {
        const place = relative(sourceDirectory, path);
        if (place.startsWith('..')) return undefined;
        const text = await readFile(path, 'utf8');
        if (!text.includes('import.meta')) return { contents: text, loader: 'ts' };
        for (const [, , name] of text.matchAll(neighbour)) {
          const source = join(dirname(path), name!);
          if (existsSync(`${source}.ts`)) found(relative(sourceDirectory, source));
        }
        const address = `sourceUrl(${JSON.stringify(place.replace(/\.ts$/, '.js'))})`;
        return { contents: text.replace(ownAddress, address), loader: 'ts' };
      });
    },
  };
}
