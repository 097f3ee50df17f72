import { createWriteStream } from 'node:fs';
import { lstat, readdir, readlink } from 'node:fs/promises';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { ZipFile } from 'yazl';

export interface ZipDirectoryOptions {
  /** Its content becomes the archive's content; the directory itself is no entry. */
  directory: string;
  /** The archive's path; created or overwritten. */
  destination: string;
  /** Whether an entry goes in; `path` is relative with `/`. What is left out is not looked into. @default all */
  includes?: (path: string, isDirectory: boolean) => boolean;
  /** Time that all entries get, so that the same content gives the same bytes. @default each file's own */
  mtime?: Date;
}

export interface ZipResult {
  /** Files and symbolic links in the archive. */
  files: number;
  /** Their size before compression, in bytes. */
  bytes: number;
}

/**
 * Packs a directory as a zip file, sorted by name, keeping permission bits, symbolic links and empty directories.
 * Sockets, pipes and devices are left out.
 *
 * @throws the file system's own error when something cannot be read or the archive not written
 */
export async function zipDirectory(options: ZipDirectoryOptions): Promise<ZipResult> {
  const zip = new ZipFile();
  const archive = zip.outputStream as unknown as Readable;
  // A file that cannot be opened is told as an event of the archive, after its entry was added.
  zip.on('error', (error) => archive.destroy(error));
  const result: ZipResult = { files: 0, bytes: 0 };
  const written = pipeline(archive, createWriteStream(options.destination, { mode: 0o600 }));
  const packed = addDirectory(zip, options, '', result)
    .then(() => zip.end())
    .catch((error: Error) => {
      archive.destroy(error);
      throw error;
    });
  // Both are waited for also when one fails, so that nothing goes on behind the caller's back.
  const [packing, writing] = await Promise.allSettled([packed, written]);
  if (packing.status === 'rejected') throw packing.reason;
  if (writing.status === 'rejected') throw writing.reason;
  return result;
}

async function addDirectory(
  zip: ZipFile,
  options: ZipDirectoryOptions,
  parent: string,
  result: ZipResult,
): Promise<void> {
  const names = (await readdir(join(options.directory, parent))).sort();
  for (const name of names) await addEntry(zip, options, parent === '' ? name : `${parent}/${name}`, result);
}

async function addEntry(zip: ZipFile, options: ZipDirectoryOptions, path: string, result: ZipResult): Promise<void> {
  const source = join(options.directory, path);
  const status = await lstat(source);
  if (options.includes && !options.includes(path, status.isDirectory())) return;
  const attributes = { mode: status.mode, mtime: options.mtime ?? status.mtime };
  if (status.isDirectory()) {
    zip.addEmptyDirectory(path, attributes);
    await addDirectory(zip, options, path, result);
    return;
  }
  if (status.isSymbolicLink()) zip.addBuffer(Buffer.from(await readlink(source)), path, attributes);
  else if (status.isFile()) zip.addFile(source, path, attributes);
  else return;
  result.files += 1;
  result.bytes += status.size;
}
