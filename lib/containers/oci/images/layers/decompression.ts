import { pipeline } from 'node:stream/promises';
import { createGunzip } from 'node:zlib';
import { ImageError } from '../../../errors.js';
import { ProgramError, type StreamedProgram, throughProgram } from '../program-streams.js';

const gzipMagic = Buffer.from([0x1f, 0x8b]);
const zstd: StreamedProgram = {
  debianPackage: 'zstd',
  program: 'zstd',
  args: ['--decompress', '--stdout', '--quiet'],
};
const zstdMagic = Buffer.from([0x28, 0xb5, 0x2f, 0xfd]);

/**
 * A stream as it was before it was compressed with gzip or zstd, or as it is; told by its first bytes, whatever its
 * name or media type says.
 *
 * @throws ImageError when it is damaged
 * @throws HostRequirementError for zstd, when the program is missing
 */
export async function* decompressed(source: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
  const chunks = source[Symbol.asyncIterator]();
  const head = await firstBytes(chunks, zstdMagic.length);
  const whole = prepended(head, chunks);
  if (head.subarray(0, gzipMagic.length).equals(gzipMagic)) yield* gunzipped(whole);
  else if (head.subarray(0, zstdMagic.length).equals(zstdMagic)) yield* unzstd(whole);
  else yield* whole;
}

async function firstBytes(chunks: AsyncIterator<Buffer>, length: number): Promise<Buffer> {
  let head: Buffer = Buffer.alloc(0);
  while (head.length < length) {
    const { done, value } = await chunks.next();
    if (done) break;
    head = Buffer.concat([head, value]);
  }
  return head;
}

async function* prepended(head: Buffer, chunks: AsyncIterator<Buffer>): AsyncGenerator<Buffer> {
  try {
    yield head;
    for (let next = await chunks.next(); !next.done; next = await chunks.next()) yield next.value;
  } finally {
    await chunks.return?.();
  }
}

async function* gunzipped(source: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
  const gunzip = createGunzip();
  // Its failure comes out of the iteration, too.
  const fed = pipeline(source, gunzip);
  fed.catch(() => {});
  try {
    yield* gunzip as AsyncIterable<Buffer>;
  } catch (error) {
    const { code = '', message } = error as NodeJS.ErrnoException;
    throw code.startsWith('Z_') ? new ImageError(`damaged gzip data: ${message}`, { cause: error }) : error;
  } finally {
    gunzip.destroy();
  }
}

async function* unzstd(source: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
  try {
    yield* throughProgram(zstd, source);
  } catch (error) {
    throw error instanceof ProgramError
      ? new ImageError(`damaged zstd data: ${error.message}`, { cause: error })
      : error;
  }
}
