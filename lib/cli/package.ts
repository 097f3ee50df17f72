import { mkdtemp, readFile, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { openPromise } from 'yauzl';
import { zipDirectory } from '../files/zip-directory.js';
import { CliError } from './cli-error.js';
import { parseIgnoreRules } from './ignore-rules.js';

/** Files of an app or of a buildpack as one zip. */
export interface Package {
  path: string;
  /** Name that the zip has, or would have. */
  filename: string;
  /** How many files and links are in it; of a zip that was there before, entries. */
  files: number;
  /** Size of the zip, bytes. */
  zipBytes: number;
  /** Removes what was made for it. */
  remove(): Promise<void>;
}

/**
 * Packs a directory, without what its `.cfignore` names, keeping modes and symbolic links; a zip file, such as a jar or a
 * war, is taken as it is.
 * @param place where it is
 * @param name as users name it
 * @throws CliError when it is neither, or when there is nothing in it
 */
export async function packFiles(place: string, name = place): Promise<Package> {
  const status = await stat(place).catch(() => undefined);
  const found = status?.isDirectory() ? await packDirectory(place) : status?.isFile() && (await takeZip(place, name));
  if (!found) throw new CliError(`${name} is neither a directory nor a zip file`);
  if (found.files > 0) return found;
  await found.remove();
  throw new CliError(`there are no files in ${name}`);
}

async function packDirectory(directory: string): Promise<Package> {
  const ignores = parseIgnoreRules(await readFile(join(directory, '.cfignore'), 'utf8').catch(() => ''));
  const temporary = await mkdtemp(join(tmpdir(), 'isthmus-push-'));
  const remove = () => rm(temporary, { recursive: true, force: true });
  try {
    const path = join(temporary, 'application.zip');
    const includes = (entry: string, isEntryDirectory: boolean) => !ignores(entry, isEntryDirectory);
    const { files } = await zipDirectory({ directory, destination: path, includes });
    return { path, filename: `${basename(directory)}.zip`, files, zipBytes: (await stat(path)).size, remove };
  } catch (error) {
    await remove();
    throw error;
  }
}

async function takeZip(path: string, name: string): Promise<Package> {
  try {
    const zip = await openPromise(path);
    const files = zip.entryCount;
    zip.close();
    return { path, filename: basename(path), files, zipBytes: (await stat(path)).size, remove: async () => {} };
  } catch (error) {
    throw new CliError(`${name} is no zip file: ${(error as Error).message}`, { cause: error });
  }
}
