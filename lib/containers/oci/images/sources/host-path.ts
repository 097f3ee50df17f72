import { createReadStream } from 'node:fs';
import { stat } from 'node:fs/promises';
import { InvalidSpecError } from '../../../errors.js';
import type { LayerArchive } from '../layers/layer-unpacking.js';
import { throughProgram } from '../program-streams.js';
import { chainId, type SourceLayer } from './image-source.js';

/**
 * A root file system that lies on the host. Its content is not digested: what is copied from it is known by its path
 * and the time and number that a replaced one does not share (docs/protocol/containers.md §3.1).
 *
 * @param path absolute, of a directory or a tar file
 * @param isCopied whether a directory is copied rather than used as it is
 * @throws InvalidSpecError when there is nothing, or something else
 */
export async function hostLayer(path: string, { isCopied }: { isCopied: boolean }): Promise<SourceLayer> {
  const status = await stat(path, { bigint: true }).catch((cause: unknown) => {
    throw new InvalidSpecError(`rootfs ${path} not found`, { cause });
  });
  const { dev, ino, mtimeNs, size } = status;
  if (status.isDirectory()) {
    if (!isCopied) return { kind: 'directory', directory: path, identity: `${dev}:${ino}` };
    const identity = ['directory', path, mtimeNs, dev, ino].join('\0');
    return { kind: 'reowned', directory: path, chainId: chainId(undefined, identity), archive: directoryArchive(path) };
  }
  if (!status.isFile()) throw new InvalidSpecError(`rootfs ${path} is neither a directory nor a tar file`);
  const identity = ['file', path, mtimeNs, size].join('\0');
  return { kind: 'archive', chainId: chainId(undefined, identity), archive: fileArchive(path) };
}

/**
 * A directory that is used as it is, without a layer above.
 *
 * @throws InvalidSpecError when it is none
 */
export async function rawDirectory(path: string): Promise<SourceLayer> {
  const layer = await hostLayer(path, { isCopied: false });
  if (layer.kind !== 'directory') throw new InvalidSpecError(`rootfs ${path} is not a directory`);
  return layer;
}

function fileArchive(path: string): LayerArchive {
  return { name: path, open: () => createReadStream(path) as AsyncIterable<Buffer> };
}

/** Other file systems that are mounted in the directory do not belong to it. */
function directoryArchive(path: string): LayerArchive {
  const args = [
    '--create',
    '--file=-',
    '--format=pax',
    '--one-file-system',
    '--numeric-owner',
    '--xattrs',
    '--xattrs-include=*',
    '--warning=no-file-ignored',
    `--directory=${path}`,
    '.',
  ];
  return { name: path, open: () => throughProgram({ debianPackage: 'tar', program: 'tar', args }) };
}
