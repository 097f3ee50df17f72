export interface ByteRange {
  start: number;
  length: number;
}

/** What a `Range` header asks of a file. */
export type RangeRequest =
  | { kind: 'whole' }
  | { kind: 'ranges'; ranges: ByteRange[] }
  /** Well-formed, but beyond the file. */
  | { kind: 'unsatisfiable' }
  | { kind: 'malformed' };

const whole: RangeRequest = { kind: 'whole' };
const malformed: RangeRequest = { kind: 'malformed' };

/**
 * Reads a `Range` header (docs/protocol/dea.md §20.4). Parts beyond the file are dropped; ranges that together are
 * larger than the file are answered by the whole file, so that nobody can ask for the same bytes a thousand times.
 */
export function parseRanges(header: string | undefined, size: number): RangeRequest {
  if (header === undefined || header === '') return whole;
  if (!header.startsWith('bytes=')) return malformed;
  const specs = header
    .slice('bytes='.length)
    .split(',')
    .map((spec) => spec.trim())
    .filter((spec) => spec !== '');
  const ranges: ByteRange[] = [];
  for (const spec of specs) {
    const range = parseRange(spec, size);
    if (range === 'malformed') return malformed;
    if (range !== 'beyond') ranges.push(range);
  }
  if (ranges.length === 0) return specs.length === 0 ? whole : { kind: 'unsatisfiable' };
  const total = ranges.reduce((sum, { length }) => sum + length, 0);
  return total > size ? whole : { kind: 'ranges', ranges };
}

/** `Content-Range` of one range. */
export function contentRange({ start, length }: ByteRange, size: number): string {
  return `bytes ${start}-${start + length - 1}/${size}`;
}

function parseRange(spec: string, size: number): ByteRange | 'beyond' | 'malformed' {
  const match = /^(\d*)\s*-\s*(\d*)$/.exec(spec);
  if (!match || (match[1] === '' && match[2] === '')) return 'malformed';
  const [first, last] = [match[1]!, match[2]!];
  if (first === '') {
    const length = Math.min(Number(last), size);
    return { start: size - length, length };
  }
  const start = Number(first);
  if (last !== '' && Number(last) < start) return 'malformed';
  if (start >= size) return 'beyond';
  const end = last === '' ? size - 1 : Math.min(Number(last), size - 1);
  return { start, length: end - start + 1 };
}
