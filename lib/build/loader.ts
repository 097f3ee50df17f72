/**
 * The text of what Node runs for a program, `dist/dea/main.js`: it runs the bundle beside it, with V8's compiled code of
 * it when that fits this Node. V8 looks at the length of a text only, so both are named by the content.
 *
 * @param bundle name of the bundle's file
 * @param depth how many folders the program is below `dist`
 */
export function loaderText(bundle: string, depth: number): string {
  return `// Made by lib/build.
'use strict';
const { readFileSync } = require('node:fs');
const { join } = require('node:path');
const { pathToFileURL } = require('node:url');
const { Script } = require('node:vm');

const filename = join(__dirname, '${bundle}');
const build = pathToFileURL(join(__dirname, './${'../'.repeat(depth)}')).href;

// Compiled code has no counters for coverage in it.
function readCompiled() {
  if (process.env.NODE_V8_COVERAGE) return undefined;
  try {
    return readFileSync(filename + '.compiled');
  } catch {
    return undefined;
  }
}

const script = new Script(readFileSync(filename, 'latin1'), { filename, cachedData: readCompiled() });
script.runInThisContext()(exports, require, module, filename, __dirname, (path) => new URL(path, build).href);
`;
}

/** What stands before and behind a bundle, so that it is a function of what a module has. */
export const bundleFrame = {
  before: '(function (exports, require, module, __filename, __dirname, sourceUrl) {',
  after: '})',
};
