import { InvalidSpecError } from '../../errors.js';

/** A writable layer that may hold less is of no use. */
export const smallestLimitBytes = 256 * 1024;

/**
 * What the writable layer may hold when it and the image together may take `bytes`
 * (docs/protocol/containers.md §3.7).
 *
 * @throws InvalidSpecError when the image alone is larger
 */
export function bytesBesideImage(bytes: number, imageBytes: number): number {
  if (bytes < imageBytes) throw new InvalidSpecError('limits.disk.bytes: disk limit is smaller than volume size');
  return bytes - imageBytes;
}

/** The limit that is set where this one is asked for. */
export function usableLimit(bytes: number): number {
  return Math.max(bytes, smallestLimitBytes);
}
