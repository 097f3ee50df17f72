/** Where the lines of a bundle come from, as the build writes it beside the bundle (lib/build/line-runs.ts). */
export interface BundleLines {
  /** Paths of sources, relative to the bundle. */
  sources: string[];
  /**
   * Three numbers for each run of lines that follow each other in the bundle as in their source: the first line in the
   * bundle, the number of the source or -1 for none of ours, the first line there. Lines count from 1.
   */
  runs: number[];
}

/** Which line of a source a line of a bundle comes from; undefined for none of ours. Lines count from 1. */
export function findLine({ sources, runs }: BundleLines, line: number): { source: string; line: number } | undefined {
  let [low, high] = [0, runs.length / 3];
  // The last run that begins at the line or before it.
  while (low < high) {
    const middle = (low + high) >> 1;
    if (runs[middle * 3]! <= line) low = middle + 1;
    else high = middle;
  }
  const at = (low - 1) * 3;
  const source = sources[runs[at + 1] ?? -1];
  return source === undefined ? undefined : { source, line: runs[at + 2]! + line - runs[at]! };
}
