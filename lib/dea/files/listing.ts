import type { Stats } from 'node:fs';
import type { FileHandle } from 'node:fs/promises';
import { lstat, readdir } from 'node:fs/promises';
import { setImmediate as yieldToOthers } from 'node:timers/promises';
import { inDirectory } from '../../files/held-place.js';

const nameColumns = 35;
const sizeColumns = 10;
const units = [
  ['T', 1024 ** 4],
  ['G', 1024 ** 3],
  ['M', 1024 ** 2],
  ['K', 1024],
] as const;
/** Names that are sorted in one go; a few milliseconds of work. */
const sliceLength = 4096;
/** Entries that are looked at in one go. */
const batchLength = 64;
/** Directories that one server reads at once: names and lines of a large one take some ten megabytes. */
export const parallelListings = 4;

/**
 * A directory as text, a line per entry in the order of the names' bytes: name, size (docs/protocol/dea.md §20.4).
 * An entry that goes away meanwhile is left out. A directory of any size leaves others their turn.
 *
 * @param directory open, also if only as a place in the tree
 * @param isShown whether the entry with this name appears. @default all do
 */
export async function listDirectory(
  directory: FileHandle,
  isShown: (name: string) => boolean = () => true,
): Promise<Buffer> {
  const place = inDirectory(directory, '');
  // Names are bytes, not text: as Latin-1 each byte is a character, and characters sort as the bytes do.
  const names = await sortedInTurns((await readdir(place, { encoding: 'latin1' })).filter(isShown));
  const lines: Buffer[] = [];
  for (let start = 0; start < names.length; start += batchLength) {
    const batch = names.slice(start, start + batchLength).map((name) => Buffer.from(name, 'latin1'));
    const found = await Promise.all(
      batch.map(async (name) => {
        const status = await lstatOrGone(Buffer.concat([Buffer.from(place), name]));
        return status ? [listingLine(name, status)] : [];
      }),
    );
    lines.push(Buffer.concat(found.flat()));
  }
  return Buffer.concat(lines);
}

/** Sorts slices, then merges pairs of them; between two slices and between two merges others have their turn. */
async function sortedInTurns(names: string[]): Promise<string[]> {
  let runs: string[][] = [];
  for (let start = 0; start < names.length; start += sliceLength) {
    runs.push(names.slice(start, start + sliceLength).sort());
    await yieldToOthers();
  }
  while (runs.length > 1) {
    const longer: string[][] = [];
    for (let index = 0; index < runs.length; index += 2) longer.push(await merged(runs[index]!, runs[index + 1] ?? []));
    runs = longer;
  }
  return runs[0] ?? [];
}

async function merged(left: string[], right: string[]): Promise<string[]> {
  const all: string[] = [];
  let [leftIndex, rightIndex] = [0, 0];
  while (leftIndex < left.length && rightIndex < right.length) {
    const isLeft = left[leftIndex]! <= right[rightIndex]!;
    all.push(isLeft ? left[leftIndex++]! : right[rightIndex++]!);
    if (all.length % sliceLength === 0) await yieldToOthers();
  }
  for (; leftIndex < left.length; leftIndex += 1) all.push(left[leftIndex]!);
  for (; rightIndex < right.length; rightIndex += 1) all.push(right[rightIndex]!);
  return all;
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
