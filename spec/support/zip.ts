import { lstat, readdir, readlink } from 'node:fs/promises';
import { join } from 'node:path';
import { buffer } from 'node:stream/consumers';
import { ZipFile } from 'yazl';

/** A zip of a directory's content, with modes and symbolic links, as clients of a Cloud Controller upload it. */
export async function zipDirectory(directory: string): Promise<Buffer> {
  const zip = new ZipFile();
  for (const name of await readdir(directory, { recursive: true })) {
    const path = join(directory, name);
    const status = await lstat(path);
    if (status.isSymbolicLink()) zip.addBuffer(Buffer.from(await readlink(path)), name, { mode: status.mode });
    else if (status.isFile()) zip.addFile(path, name, { mode: status.mode });
  }
  zip.end();
  return buffer(zip.outputStream);
}
