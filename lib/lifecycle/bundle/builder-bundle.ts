import { createHash, randomUUID } from 'node:crypto';
import {
  chmod,
  constants,
  copyFile,
  mkdir,
  readdir,
  readFile,
  realpath,
  rename,
  rm,
  stat,
  writeFile,
} from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build as bundleSources } from 'esbuild';
import { runCommand } from '../../process/command.js';
import { externalModules, packageDirectories } from './external-modules.js';
import { parseLdd } from './shared-libraries.js';
import { stub } from './stub.js';

/** The same relative path from the sources and from the compiled program. */
const entryPoint = fileURLToPath(new URL('../../../lib/lifecycle/builder/main.ts', import.meta.url));

export interface BundleOptions {
  /** Directory to make; replaced as a whole. */
  directory: string;
  /** The Node.js to put in. @default the running one */
  node?: string;
}

/** Everything that goes into a bundle; texts by file name, and files of this machine by file name. */
interface BundlePlan {
  texts: Map<string, string>;
  files: Map<string, string>;
}

/**
 * Makes the self-contained builder: `run` (a shell script), Node.js with its loader and libraries, and the builder as
 * one file, so that it runs on a root file system that has none of these (docs/protocol/cc-bridge.md §12). What Node.js
 * reads by absolute paths lies below `external`; `external.json` lists the directories that must be mounted there. The
 * directory appears when it is complete; nothing is done when it is what it should be.
 *
 * @returns whether it was made anew
 */
export async function makeBuilderBundle({ directory, node = process.execPath }: BundleOptions): Promise<boolean> {
  const plan = await planBundle(await realpath(node));
  const manifest = await describe(plan);
  if (await isComplete(directory, plan, manifest)) return false;
  const staging = join(dirname(directory), `.${basename(directory)}-${randomUUID()}`);
  try {
    await fill(staging, plan, manifest);
    await replaceDirectory(directory, staging);
  } finally {
    await rm(staging, { recursive: true, force: true });
  }
  return true;
}

async function planBundle(node: string): Promise<BundlePlan> {
  // `ldd` fails on a static program, which then needs nothing.
  const { stdout } = await runCommand('ldd', [node]).catch(() => ({ stdout: '' }));
  const { loader, libraries } = parseLdd(stdout);
  const files = new Map([['node', node]]);
  for (const [name, path] of libraries) files.set(`lib/${name}`, path);
  if (loader !== undefined) files.set(`lib/${basename(loader)}`, loader);
  const modules = await externalModules([node, ...[...files.values()].filter((path) => /\/libnode\.so/.test(path))]);
  for (const path of modules) files.set(`external${path}`, path);
  return {
    texts: new Map([
      ['external.json', JSON.stringify(packageDirectories(modules))],
      ['run', stub(loader === undefined ? undefined : basename(loader))],
      ['builder.cjs', await bundleBuilder()],
    ]),
    files,
  };
}

async function bundleBuilder(): Promise<string> {
  const { outputFiles } = await bundleSources({
    entryPoints: [entryPoint],
    bundle: true,
    write: false,
    platform: 'node',
    target: 'node20',
    format: 'cjs',
    minify: true,
    keepNames: true,
    legalComments: 'eof',
    logLevel: 'silent',
  });
  return outputFiles[0]!.text;
}

/** What the bundle is made of, so that a change of any part is seen without reading a hundred megabytes. */
async function describe(plan: BundlePlan): Promise<string> {
  const parts: Record<string, string> = {};
  for (const [name, text] of plan.texts) parts[name] = createHash('sha256').update(text).digest('hex');
  for (const [name, path] of plan.files) {
    const { size, mtimeMs } = await stat(path);
    parts[name] = `${path} ${size} ${mtimeMs}`;
  }
  return `${JSON.stringify(parts, undefined, 2)}\n`;
}

async function isComplete(directory: string, plan: BundlePlan, manifest: string): Promise<boolean> {
  try {
    const names = [...plan.texts.keys(), ...plan.files.keys()];
    await Promise.all(names.map((name) => stat(join(directory, name))));
    return (await readFile(join(directory, manifestName), 'utf8')) === manifest;
  } catch {
    return false;
  }
}

const manifestName = 'manifest.json';

async function fill(directory: string, plan: BundlePlan, manifest: string): Promise<void> {
  for (const [name, path] of plan.files) {
    await mkdir(dirname(join(directory, name)), { recursive: true });
    await copy(path, join(directory, name));
  }
  for (const [name, text] of plan.texts) await writeReadable(join(directory, name), text);
  await writeReadable(join(directory, manifestName), manifest);
  // Read by the app's user in the container, whatever the file mode creation mask is here.
  const entries = await readdir(directory, { recursive: true, withFileTypes: true });
  const directories = entries.filter((entry) => entry.isDirectory()).map(({ path, name }) => join(path, name));
  await Promise.all([directory, ...directories].map((path) => chmod(path, 0o755)));
}

async function writeReadable(path: string, text: string): Promise<void> {
  await writeFile(path, text);
  await chmod(path, 0o755);
}

/**
 * A copy, though a hard link would cost no space: whoever changes owner or mode of the files here must not change the
 * machine's own Node.js and C library.
 */
async function copy(source: string, destination: string): Promise<void> {
  await copyFile(source, destination, constants.COPYFILE_FICLONE);
  await chmod(destination, 0o755);
}

/**
 * Puts a finished directory in the place of an older one. For an instant there is none; there is never a half-made one.
 * Whoever else does the same at the same time is replaced in turn.
 */
async function replaceDirectory(directory: string, replacement: string): Promise<void> {
  for (let attempts = 0; ; attempts += 1) {
    try {
      await rename(replacement, directory);
      return;
    } catch (error) {
      if (!isOccupied(error) || attempts === 10) throw error;
    }
    await discard(directory, `${replacement}-old`);
  }
}

async function discard(directory: string, name: string): Promise<void> {
  try {
    await rename(directory, name);
  } catch (error) {
    // Somebody else has just taken it away.
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
  }
  await rm(name, { recursive: true, force: true });
}

function isOccupied(error: unknown): boolean {
  const { code } = error as NodeJS.ErrnoException;
  return code === 'ENOTEMPTY' || code === 'EEXIST';
}
