import { readFileSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type BundleLines, findLine } from './bundle-lines.js';

/** A line of a source file, counted from 1. */
export interface SourcePosition {
  file: string;
  line: number;
}

/** How the build names bundles (docs/adr/0011-programs-in-one-file.md). */
const bundleName = /-[0-9a-f]{16}\.cjs$/;
const known = new Map<string, BundleLines | undefined>();

/**
 * Where a line of a bundle comes from: undefined for a line of a package. A position in any other file is returned as
 * it is, its file as a path.
 */
export function sourcePosition(file: string, line: number): SourcePosition | undefined {
  const path = file.startsWith('file:') ? fileURLToPath(file) : file;
  if (!bundleName.test(path)) return { file: path, line };
  const lines = linesOf(path);
  if (!lines) return { file: path, line };
  const found = findLine(lines, line);
  return found && { file: resolve(dirname(path), found.source), line: found.line };
}

function linesOf(path: string): BundleLines | undefined {
  if (!known.has(path)) known.set(path, readLines(path));
  return known.get(path);
}

/** A program goes on when its build was replaced; its positions are then those of the bundle. */
function readLines(path: string): BundleLines | undefined {
  try {
    return JSON.parse(readFileSync(`${path}.lines`, 'utf8')) as BundleLines;
  } catch {
    return undefined;
  }
}

/** Makes the stacks of errors name source files; costs nothing until a stack is asked for. */
export function nameSourcesInStacks(): void {
  Error.prepareStackTrace = (error, frames) =>
    [titleOf(error), ...frames.map((frame) => `    at ${describe(frame)}`)].join('\n');
}

function titleOf(error: Error): string {
  try {
    return Error.prototype.toString.call(error);
  } catch {
    return '<error>';
  }
}

function describe(frame: NodeJS.CallSite): string {
  const text = String(frame);
  const [file, line] = [frame.getFileName(), frame.getLineNumber()];
  if (!file || !line || !bundleName.test(file)) return text;
  const position = sourcePosition(file, line);
  return position
    ? text.replace(`${file}:${line}:${frame.getColumnNumber()}`, `${position.file}:${position.line}`)
    : text;
}
