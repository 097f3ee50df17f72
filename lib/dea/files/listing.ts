import type { Stats } from 'node:fs';
import type { FileHandle } from 'node:fs/promises';
import { lstat, readdir } from 'node:fs/promises';
import { inDirectory } from '../../files/open-served.js';

const nameColumns = 35;
const sizeColumns = 10;
const units = [
  ['T', 1024 ** 4],
  ['G', 1024 ** 3],
  ['M', 1024 ** 2],
  ['K', 1024],
] as const;

/**
 * A directory as text, a line per entry in the order of the names' bytes: name, size (docs/protocol/dea.md §20.4).
 * An entry that goes away meanwhile is left out.
 *
 * @param directory open, also if only as a place in the tree
 */
export async function listDirectory(directory: FileHandle): Promise<Buffer> {
  const place = Buffer.from(inDirectory(directory, ''));
  const names = await readdir(place, { encoding: 'buffer' });
  names.sort(Buffer.compare);
  const lines: Buffer[] = [];
  for (const name of names) {
    const status = await lstatOrGone(Buffer.concat([place, name]));
    if (status) lines.push(listingLine(name, status));
  }
  return Buffer.concat(lines);
}

/** One line; the name's bytes are kept as they are, and counted in characters. */
export function listingLine(name: Buffer, status: Pick<Stats, 'isDirectory' | 'size'>): Buffer {
  const shownName = status.isDirectory() ? Buffer.concat([name, Buffer.from('/')]) : name;
  const padding = ' '.repeat(Math.max(0, nameColumns - [...shownName.toString()].length));
  const size = status.isDirectory() ? '-' : humanSize(status.size);
  return Buffer.concat([shownName, Buffer.from(`${padding} ${size.padStart(sizeColumns)}\n`)]);
}

/** `10B`, `1.0K`, `3.4M`; a tie goes to the even digit. */
export function humanSize(bytes: number): string {
  for (const [unit, unitBytes] of units) {
    if (bytes >= unitBytes) return `${tenths(bytes, unitBytes)}${unit}`;
  }
  return `${bytes}B`;
}

function tenths(bytes: number, unitBytes: number): string {
  const exact = (bytes * 10) / unitBytes;
  const below = Math.floor(exact);
  const isTie = exact - below === 0.5;
  const rounded = isTie ? below + (below % 2) : Math.round(exact);
  return `${Math.floor(rounded / 10)}.${rounded % 10}`;
}

async function lstatOrGone(path: Buffer): Promise<Stats | undefined> {
  try {
    return await lstat(path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}
