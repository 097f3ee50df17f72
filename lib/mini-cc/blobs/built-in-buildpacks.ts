import { rm, stat } from 'node:fs/promises';
import { basename } from 'node:path';
import { zipDirectory } from '../../files/zip-directory.js';
import type { Logger } from '../../logging/logger.js';
import { type BuildpackStore, buildpackKey } from '../store/buildpack-store.js';
import type { Blobstore } from './blobstore.js';
import { blobNames } from './names.js';

export interface BuiltInBuildpacksOptions {
  buildpacks: BuildpackStore;
  blobs: Blobstore;
  maximumBytes: number;
  logger: Logger;
}

/** A buildpack's directory as the configuration names it. */
export interface BuiltInBuildpack {
  name: string;
  path: string;
}

/** Zip times begin at 1980; with one time for all files, the same content always gives the same archive. */
const archiveTime = new Date(1980, 0, 1);

/**
 * Makes buildpacks of directories: packs each and stores it when its content is not yet the stored one. Detection goes
 * in the order of the list, unless an operator has changed it.
 *
 * @throws when a directory is missing or unreadable, naming it
 */
export async function installBuiltInBuildpacks(
  directories: BuiltInBuildpack[],
  options: BuiltInBuildpacksOptions,
): Promise<void> {
  for (const directory of directories) {
    try {
      await install(directory, options);
    } catch (error) {
      throw new Error(`buildpack ${directory.name}: ${(error as Error).message}`, { cause: error });
    }
  }
}

async function install({ name, path }: BuiltInBuildpack, options: BuiltInBuildpacksOptions): Promise<void> {
  const { buildpacks, blobs, maximumBytes, logger } = options;
  if (!(await stat(path)).isDirectory()) throw new Error(`${path} is no directory`);
  const archive = blobs.temporaryPath();
  try {
    await zipDirectory({ directory: path, destination: archive, mtime: archiveTime });
    const pending = await blobs.receiveFile(archive, maximumBytes);
    const buildpack = buildpacks.findByName(name) ?? buildpacks.insert(name);
    const key = buildpackKey({ ...buildpack, sha1: pending.sha1 });
    if (buildpack.sha1 === pending.sha1 && (await blobs.find(blobNames.buildpack(key)))) return pending.discard();
    await pending.commit(blobNames.buildpack(key));
    buildpacks.update(buildpack.guid, { sha1: pending.sha1, filename: `${basename(path)}.zip` });
    if (buildpack.sha1 && buildpack.sha1 !== pending.sha1) {
      await blobs.delete(blobNames.buildpack(buildpackKey(buildpack)));
    }
    logger.info('mini-cc.buildpack.installed', { name, sha1: pending.sha1 });
  } finally {
    await rm(archive, { force: true });
  }
}
