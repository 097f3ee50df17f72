import { readFile } from 'node:fs/promises';

/** Where distributions keep modules that belong to Node.js itself. */
const directory = '/usr/share/nodejs/';

/**
 * Modules that Node.js has outside of its program and libraries, as Debian's does: it reads them at each start, by
 * absolute paths, and does not start without. Official builds have none.
 *
 * @param programs the executable, and its library where it is one
 */
export async function externalModules(programs: string[]): Promise<string[]> {
  const paths = new Set<string>();
  for (const program of programs) {
    const bytes = await readFile(program);
    for (let at = bytes.indexOf(directory); at >= 0; at = bytes.indexOf(directory, at + 1)) {
      const text = bytes.toString('latin1', at, at + 1024);
      const [path] = /^[\w@./-]+\.[cm]?js(?=\0|$)/.exec(text) ?? [];
      if (path !== undefined) paths.add(path);
    }
  }
  return [...paths].sort();
}

/** Directories below which these modules lie, one for each package: `/usr/share/nodejs/undici`. */
export function packageDirectories(modules: string[]): string[] {
  return [...new Set(modules.map((path) => directory + path.slice(directory.length).split('/')[0]))];
}
