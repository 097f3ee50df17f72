import { createHash } from 'node:crypto';
import { mkdir, readdir, rename, rm, writeFile } from 'node:fs/promises';
import { basename, dirname, join, relative, resolve } from 'node:path';
import { build as bundleSources, type OutputFile } from 'esbuild';
import { recordCompiledCode } from './compiled-code.js';
import { leanPackages } from './lean-packages.js';
import { lineRuns } from './line-runs.js';
import { bundleFrame, loaderText } from './loader.js';
import { sourcePlaces } from './source-places.js';

export interface BundleOptions {
  /** The checkout: sources are in `lib`, the build goes to `dist`. */
  projectDirectory: string;
  /** Sources below `lib`, without their ending: `dea/main`. */
  programs: readonly string[];
}

/** Compiled for the machine, or asked for only when it is there (bunyan, without which it does well). */
const notBundled = ['better-sqlite3', 'dtrace-provider'];

/**
 * Builds programs, and the threads and programs that these start, each into one file
 * (docs/adr/0011-programs-in-one-file.md).
 *
 * @returns the paths below `dist`, without their ending, of all that was built
 * @throws with esbuild's text when a source is wrong
 */
export async function bundlePrograms({ projectDirectory, programs }: BundleOptions): Promise<string[]> {
  const built = new Set<string>();
  for (let next = [...programs]; next.length > 0; ) {
    for (const path of next) built.add(path);
    const found = new Set<string>();
    const bundles = await bundle(projectDirectory, next, (path) => found.add(path));
    await Promise.all(
      [...bundles].map(([path, parts]) => write(projectDirectory, path, parts, programs.includes(path))),
    );
    next = [...found].filter((path) => !built.has(path));
  }
  return [...built];
}

interface Bundle {
  code: string;
  map: string;
}

async function bundle(
  projectDirectory: string,
  paths: readonly string[],
  found: (path: string) => void,
): Promise<Map<string, Bundle>> {
  const sources = join(projectDirectory, 'lib');
  const build = join(projectDirectory, 'dist');
  const { outputFiles } = await bundleSources({
    absWorkingDir: projectDirectory,
    entryPoints: paths.map((path) => ({ in: `program:${path}`, out: path })),
    outdir: build,
    bundle: true,
    write: false,
    platform: 'node',
    target: 'node20',
    format: 'cjs',
    external: notBundled,
    banner: { js: bundleFrame.before },
    footer: { js: bundleFrame.after },
    sourcemap: 'external',
    sourcesContent: false,
    legalComments: 'none',
    logLevel: 'silent',
    plugins: [entries(sources), sourcePlaces(sources, found), leanPackages],
  });
  const textOf = (path: string): string =>
    outputFiles.find((file: OutputFile) => file.path === join(build, path))!.text;
  return new Map(paths.map((path) => [path, { code: inAscii(textOf(`${path}.js`)), map: textOf(`${path}.js.map`) }]));
}

/**
 * esbuild leaves other characters in comments and regular expressions only, where an escape means the same. What is all
 * ASCII is read in half the time, and takes half the memory.
 */
function inAscii(code: string): string {
  return code.replace(/[^\0-\x7f]/g, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`);
}

/** A program's first act is to make stacks readable. */
function entries(sources: string): import('esbuild').Plugin {
  return {
    name: 'entries',
    setup(build) {
      build.onResolve({ filter: /^program:/ }, ({ path }) => ({
        path: path.slice('program:'.length),
        namespace: 'program',
      }));
      build.onLoad({ filter: /.*/, namespace: 'program' }, ({ path }) => ({
        contents: `import './logging/readable-stacks.ts'; import './${path}.ts';`,
        resolveDir: sources,
      }));
    },
  };
}

/** The loader comes last and replaces the old one at once; what that one ran goes after it. */
async function write(projectDirectory: string, path: string, parts: Bundle, isProgram: boolean): Promise<void> {
  const { code, map } = parts;
  const program = join(projectDirectory, 'dist', `${path}.js`);
  const directory = dirname(program);
  const stem = basename(path);
  const name = `${stem}-${createHash('sha256').update(code).digest('hex').slice(0, 16)}.cjs`;
  await mkdir(directory, { recursive: true });
  const lines = lineRuns(code, map, (source) => isOwn(projectDirectory, directory, source));
  // Tools find the map by the comment.
  await writeFile(join(directory, name), `${code}//# sourceMappingURL=${name}.map\n`);
  await writeFile(join(directory, `${name}.map`), withWholePaths(map, directory));
  await writeFile(join(directory, `${name}.lines`), JSON.stringify(lines));
  await writeFile(`${program}.new`, loaderText(name, path.split('/').length - 1));
  await rename(`${program}.new`, program);
  if (isProgram) await recordCompiledCode(program, join(directory, `${name}.compiled`));
  await removeOthers(directory, new RegExp(`^${stem}-[0-9a-f]{16}\\.cjs`), name);
}

/** c8 counts only what is below the directory that it runs in, and would not know it by a path from the bundle. */
function withWholePaths(map: string, directory: string): string {
  const payload = JSON.parse(map) as { sources: string[] };
  return JSON.stringify({ ...payload, sources: payload.sources.map((source) => resolve(directory, source)) });
}

function isOwn(projectDirectory: string, directory: string, source: string): boolean {
  return !relative(join(projectDirectory, 'lib'), join(directory, source)).startsWith('..');
}

async function removeOthers(directory: string, pattern: RegExp, kept: string): Promise<void> {
  const names = (await readdir(directory)).filter((name) => pattern.test(name) && !name.startsWith(kept));
  await Promise.all(names.map((name) => rm(join(directory, name))));
}
