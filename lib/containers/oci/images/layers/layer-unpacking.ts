import { statfs } from 'node:fs/promises';
import { ImageError } from '../../../errors.js';
import { intoProgram, ProgramError } from '../program-streams.js';
import { TarError } from '../tar/tar-format.js';
import { decompressed } from './decompression.js';
import { measured } from './digest-meter.js';
import { LayerFilter, type LayerFilterOptions } from './layer-filter.js';

/** Whoever has less left has run out of space: file systems keep some blocks for themselves. */
const fullBytes = 64 * 1024;

/** An archive that becomes a layer. */
export interface LayerArchive {
  /** How errors call it. */
  name: string;
  /** What it must be as it comes, before it is decompressed. */
  sha256?: string;
  size?: number;
  /** What it must be once it is decompressed. */
  diffId?: string;
  /** Directory of the image that it belongs under. @default its root */
  beneath?: string;
  /** Its bytes, from the beginning. */
  open: (signal: AbortSignal) => AsyncIterable<Buffer>;
}

/** What an overlay must be told about a layer that was unpacked. */
export interface UnpackedLayer {
  /** Directories that hide what the layers below have in them; names as bytes. */
  opaqueDirectories: readonly string[];
  /** What it shows, where that is more than it holds. */
  shownBytes?: number;
}

/**
 * Unpacks a layer into an empty directory by the host's tar, which is only given what `LayerFilter` lets pass.
 *
 * @throws ImageError when the archive is not what it should be, must not be unpacked, or has no room
 * @throws HostRequirementError, the source's error, or the signal's reason
 */
export async function unpackLayer(
  archive: LayerArchive,
  directory: string,
  options: Omit<LayerFilterOptions, 'beneath'> & { signal: AbortSignal },
): Promise<UnpackedLayer> {
  const { signal, ...filterOptions } = options;
  const filter = new LayerFilter({
    ...filterOptions,
    ...(archive.beneath !== undefined && { beneath: archive.beneath }),
  });
  try {
    await extract(directory, filter.filter(contentOf(archive, signal)));
    if (filter.hasMarkers) await extract(directory, filter.markers(directory));
  } catch (error) {
    signal.throwIfAborted();
    const reason = await reasonOf(error, directory);
    throw reason === undefined
      ? error
      : new ImageError(`${archive.name} cannot be unpacked: ${reason}`, { cause: error });
  }
  return { opaqueDirectories: filter.opaqueDirectories };
}

/** Undefined for what is no fault of the archive or the disk. */
async function reasonOf(error: unknown, directory: string): Promise<string | undefined> {
  if (error instanceof TarError || error instanceof ImageError) return error.message;
  if (!(error instanceof ProgramError)) return undefined;
  // Tar's own words are of a short write, or of many files that could not be made.
  return (await isFull(directory)) ? `no space left on device (${error.message})` : error.message;
}

async function isFull(directory: string): Promise<boolean> {
  const { bavail, bsize, files, ffree } = await statfs(directory);
  return bavail * bsize < fullBytes || (files > 0 && ffree === 0);
}

async function* contentOf(archive: LayerArchive, signal: AbortSignal): AsyncGenerator<Buffer> {
  const { sha256, size, diffId } = archive;
  let isWhole = false;
  async function* asItComes(): AsyncGenerator<Buffer> {
    yield* measured(interruptible(archive.open(signal), signal), {
      what: 'it',
      ...(sha256 !== undefined && { sha256 }),
      ...(size !== undefined && { size }),
    });
    isWhole = true;
  }
  yield* measured(decompressed(asItComes()), {
    what: 'its content',
    ...(diffId !== undefined && { sha256: diffId }),
  });
  // Decompression may stop before what it was given does; its digest is unknown then.
  if (!isWhole) throw new ImageError('it goes on after the end of the compressed data');
}

async function* interruptible(source: AsyncIterable<Buffer>, signal: AbortSignal): AsyncGenerator<Buffer> {
  for await (const chunk of source) {
    signal.throwIfAborted();
    yield chunk;
  }
}

async function extract(directory: string, archive: AsyncIterable<Buffer>): Promise<void> {
  const keeping = ['--same-owner', '--numeric-owner', '--same-permissions', '--xattrs', '--xattrs-include=*'];
  const args = [
    '--extract',
    '--file=-',
    `--directory=${directory}`,
    ...keeping,
    // What is unpacked into a directory must not change the time that its own entry gave it.
    '--delay-directory-restore',
    '--warning=no-timestamp',
  ];
  await intoProgram({ debianPackage: 'tar', program: 'tar', args }, archive);
}
