import { readFile, stat } from 'node:fs/promises';
import { dirname, join, relative, resolve } from 'node:path';
import { CliError } from '../cli-error.js';
import { applicationsOf, inheritDocument, type PlacedDocument, placeDocument } from './merge.js';
import { parseManifest } from './parse.js';
import type { ManifestApplication } from './schema.js';

/** The applications of a manifest in their order, and what of it is left unheeded, a line each. */
export interface Manifest {
  /** As it is shown to users. */
  path: string;
  applications: ManifestApplication[];
  warnings: string[];
}

const fileNames = ['manifest.yml', 'manifest.yaml'];

/**
 * Reads a manifest with all that it inherits.
 *
 * @param wish a file, or a directory with a manifest in it; undefined: the current directory, where there need be none
 * @throws CliError naming the file and the field that is wrong, or the file that is missing
 */
export async function loadManifest(wish: string | undefined, currentDirectory: string): Promise<Manifest | undefined> {
  const path = await findManifest(resolve(currentDirectory, wish ?? '.'));
  if (path === undefined) {
    if (wish === undefined) return undefined;
    throw new CliError(`there is no manifest ${wish}`);
  }
  const warnings: string[] = [];
  const show = (file: string) => relative(currentDirectory, file) || file;
  const document = await readChain(path, [], show, warnings);
  return { path: show(path), applications: applicationsOf(document), warnings };
}

async function findManifest(path: string): Promise<string | undefined> {
  const candidates = (await isDirectory(path)) ? fileNames.map((name) => join(path, name)) : [path];
  for (const candidate of candidates) if (await isFile(candidate)) return candidate;
  return undefined;
}

async function readChain(
  path: string,
  children: string[],
  show: (file: string) => string,
  warnings: string[],
): Promise<PlacedDocument> {
  const chain = [...children, path];
  if (children.includes(path)) throw new CliError(`${show(path)}: inherit: leads in a circle`);
  let text: string;
  try {
    text = await readFile(path, 'utf8');
  } catch (error) {
    const from = children.at(-1);
    const problem = `${show(path)} cannot be read: ${(error as Error).message}`;
    throw new CliError(from === undefined ? problem : `${show(from)}: inherit: ${problem}`, { cause: error });
  }
  const { document, warnings: own } = parseManifest(show(path), text);
  warnings.push(...own);
  const placed = placeDocument(document, dirname(path));
  if (document.inherit === undefined) return placed;
  return inheritDocument(await readChain(resolve(dirname(path), document.inherit), chain, show, warnings), placed);
}

async function isDirectory(path: string): Promise<boolean> {
  return stat(path).then(
    (status) => status.isDirectory(),
    () => false,
  );
}

async function isFile(path: string): Promise<boolean> {
  return stat(path).then(
    (status) => status.isFile(),
    () => false,
  );
}
