import { mkdtemp, readFile, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type ZipResult, zipDirectory } from '../files/zip-directory.js';
import { CliError } from './cli-error.js';
import { parseIgnoreRules } from './ignore-rules.js';

/** An app's directory as a zip, in a temporary place. */
export interface Package extends ZipResult {
  path: string;
  /** Size of the zip, bytes. */
  zipBytes: number;
  remove(): Promise<void>;
}

/**
 * Packs a directory, without what its `.cfignore` names, keeping modes and symbolic links.
 * @throws CliError when there is no such directory, or nothing in it
 */
export async function packDirectory(directory: string): Promise<Package> {
  const isDirectory = await stat(directory).then(
    (status) => status.isDirectory(),
    () => false,
  );
  if (!isDirectory) throw new CliError(`${directory} is no directory`);
  const ignores = parseIgnoreRules(await readFile(join(directory, '.cfignore'), 'utf8').catch(() => ''));
  const temporary = await mkdtemp(join(tmpdir(), 'isthmus-push-'));
  const remove = () => rm(temporary, { recursive: true, force: true });
  try {
    const path = join(temporary, 'application.zip');
    const includes = (entry: string, isEntryDirectory: boolean) => !ignores(entry, isEntryDirectory);
    const result = await zipDirectory({ directory, destination: path, includes });
    if (result.files === 0) throw new CliError(`there are no files in ${directory}`);
    return { ...result, path, zipBytes: (await stat(path)).size, remove };
  } catch (error) {
    await remove();
    throw error;
  }
}
