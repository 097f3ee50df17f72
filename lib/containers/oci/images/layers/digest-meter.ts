import { createHash } from 'node:crypto';
import { ImageError } from '../../../errors.js';

/** What a stream must be when it has passed. */
export interface Expectation {
  /** What is measured, for the error: `layer sha256:...`. */
  what: string;
  /** Lower-case hexadecimal SHA-256. */
  sha256?: string;
  size?: number;
}

/**
 * Passes a stream on.
 *
 * @throws ImageError at its end when it was not what was expected, and before when it is longer
 */
export async function* measured(source: AsyncIterable<Buffer>, expectation: Expectation): AsyncGenerator<Buffer> {
  const { what, sha256, size } = expectation;
  const hash = createHash('sha256');
  let bytes = 0;
  for await (const chunk of source) {
    bytes += chunk.length;
    if (size !== undefined && bytes > size) throw new ImageError(`${what} has more than its ${size} bytes`);
    if (sha256 !== undefined) hash.update(chunk);
    yield chunk;
  }
  if (size !== undefined && bytes !== size) throw new ImageError(`${what} has ${bytes} bytes instead of ${size}`);
  if (sha256 === undefined) return;
  const actual = hash.digest('hex');
  if (actual !== sha256) throw new ImageError(`${what} has the digest sha256:${actual} instead of sha256:${sha256}`);
}
