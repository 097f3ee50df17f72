import { SourceMap } from 'node:module';
import type { BundleLines } from '../logging/bundle-lines.js';

/** A line of a source; all numbers count from 0. */
interface Origin {
  source: number;
  line: number;
}

/**
 * What a source map says about lines, and of those only about our own, for programs: decoding all of it would cost each
 * start a tenth of a second.
 *
 * @param code the bundle
 * @param map as esbuild made it
 * @param isOwn whether a source, as named in the map, is kept
 */
export function lineRuns(code: string, map: string, isOwn: (source: string) => boolean): BundleLines {
  const payload = JSON.parse(map) as { sources: string[]; mappings: string };
  const sources = payload.sources.filter(isOwn);
  const numbers = new Map(sources.map((source, number) => [source, number]));
  const decoded = new SourceMap({ ...payload, version: 3, file: '', names: [], sourcesContent: [], sourceRoot: '' });
  const origins = code.split('\n').map((text, row): Origin | undefined => {
    // What begins before the indentation is but the end of the line before.
    const entry = decoded.findEntry(row, text.search(/\S|$/));
    if (!('originalSource' in entry) || entry.generatedLine !== row) return undefined;
    const source = numbers.get(entry.originalSource);
    return source === undefined ? undefined : { source, line: entry.originalLine };
  });
  return { sources, runs: runsOf(origins) };
}

function runsOf(origins: readonly (Origin | undefined)[]): number[] {
  const runs: number[] = [];
  let previous: Origin | undefined;
  for (const [row, origin] of origins.entries()) {
    const goesOn = origin ? origin.source === previous?.source && origin.line === previous.line + 1 : !previous;
    if (!goesOn) runs.push(row + 1, origin?.source ?? -1, (origin?.line ?? -1) + 1);
    previous = origin;
  }
  return runs;
}
