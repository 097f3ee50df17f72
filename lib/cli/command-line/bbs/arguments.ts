import { InvalidArgumentError } from 'commander';
import { parseDurationMs } from '../../../config/duration.js';

const maximumInt32 = 2 ** 31 - 1;
const maximumUint32 = 2 ** 32 - 1;

/** A guid, a domain or an id. @throws InvalidArgumentError */
export function parseName(text: string): string {
  if (text === '') throw new InvalidArgumentError('It must not be empty.');
  return text;
}

/** Of an instance. @throws InvalidArgumentError */
export function parseIndex(text: string): number {
  if (!/^\d+$/.test(text) || Number(text) > maximumInt32) {
    throw new InvalidArgumentError('Index must be a non-negative integer.');
  }
  return Number(text);
}

/**
 * Whole seconds from `90s`, `2m` or `120`. Less than a second would count as for ever (docs/protocol/bbs.md §5).
 * @throws InvalidArgumentError
 */
export function parseTtlSeconds(text: string): number {
  if (text.startsWith('-')) throw new InvalidArgumentError('ttl is negative.');
  const milliseconds = /^\d+$/.test(text) ? Number(text) * 1000 : parseDurationMs(text);
  if (milliseconds === undefined) throw new InvalidArgumentError('Give it as 120, 90s or 2m.');
  const seconds = Math.floor(milliseconds / 1000);
  if (seconds === 0 && milliseconds > 0) throw new InvalidArgumentError('Give at least a second; 0 is for ever.');
  if (seconds > maximumUint32) throw new InvalidArgumentError(`Give at most ${maximumUint32} seconds.`);
  return seconds;
}
