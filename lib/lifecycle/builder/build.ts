import { mkdir, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { Buildpack } from './buildpack.js';
import { type SelectionRequest, selectBuildpack } from './buildpack-selection.js';
import { BuildpackCompileFailedError, BuildpackReleaseFailedError } from './errors.js';
import type { ExecutionContext } from './process-group.js';
import type { ProcessTypes } from './process-types.js';
import { parseProcfile } from './procfile.js';
import { parseRelease } from './release.js';

/** What a front end asks of the engine: the buildpacks to choose from, and the layout. */
export interface BuildRequest extends SelectionRequest {
  /** Survives from one staging of the app to the next. */
  cacheDirectory: string;
}

/** What a build found out; the front end merges the process types by its own rule and writes the result. */
export interface BuildOutcome {
  /** Directory of the buildpack that built the app. */
  buildpackPath: string;
  detectOutput: string | null;
  /** From the app's Procfile; null without one. */
  procfile: ProcessTypes | null;
  /** What the buildpack gives the app by default. */
  released: ProcessTypes;
}

/** As much of a failed release's output as goes into messages. */
const releaseMessageLimit = 10 * 1024;

/**
 * Builds the app in `appDirectory` in place: select a buildpack, compile, release, read the Procfile
 * (docs/protocol/dea.md §18). One engine for all front ends (docs/protocol/cc-bridge.md §13).
 *
 * @throws StagingError, BuildpackFetchError, InvalidProcfileError
 * @throws the reason of `context.signal` when that ended it
 */
export async function build(request: BuildRequest, context: ExecutionContext): Promise<BuildOutcome> {
  await mkdir(request.cacheDirectory, { recursive: true });
  const { buildpack, detectOutput } = await selectBuildpack(request, context);
  await compile(buildpack, request, context);
  const released = await release(buildpack, request, context);
  const procfile = await readProcfile(request.appDirectory);
  return { buildpackPath: buildpack.path, detectOutput, procfile, released };
}

async function compile(buildpack: Buildpack, request: BuildRequest, context: ExecutionContext): Promise<void> {
  let status: number;
  try {
    status = await buildpack.run('compile', [request.appDirectory, request.cacheDirectory], context);
  } catch (error) {
    context.signal.throwIfAborted();
    throw new BuildpackCompileFailedError(error);
  }
  if (status !== 0) throw new BuildpackCompileFailedError();
}

async function release(buildpack: Buildpack, request: BuildRequest, context: ExecutionContext): Promise<ProcessTypes> {
  let output = '';
  try {
    const result = await buildpack.query('release', [request.appDirectory], context);
    output = result.output;
    if (result.status !== 0) throw new Error(`bin/release: exit status ${result.status}`);
    if (result.isTruncated) throw new Error('bin/release printed too much');
    return parseRelease(output);
  } catch (error) {
    context.signal.throwIfAborted();
    throw new BuildpackReleaseFailedError(output.slice(0, releaseMessageLimit), error);
  }
}

async function readProcfile(appDirectory: string): Promise<ProcessTypes | null> {
  const path = join(appDirectory, 'Procfile');
  const isFile = await stat(path).then(
    (status) => status.isFile(),
    () => false,
  );
  return isFile ? parseProcfile(await readFile(path, 'utf8')) : null;
}
