import { mkdir, rm } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { Buildpack } from './buildpack.js';
import type { BuildpackChoice } from './buildpack-choice.js';
import { parseBuildpackUrl } from './buildpack-url.js';
import { BuildpackCompileFailedError, NoAppDetectedError } from './errors.js';
import { cloneBuildpack } from './git-checkout.js';
import type { ExecutionContext } from './process-group.js';

export interface SelectionRequest {
  choice: BuildpackChoice;
  /** Directories of the installed buildpacks, in the order in which they are asked. */
  installed: string[];
  /** Where custom buildpacks are fetched to. */
  fetchDirectory: string;
  appDirectory: string;
}

export interface Selection {
  buildpack: Buildpack;
  /** What `bin/detect` called the app, trimmed; null when it was not asked. */
  detectOutput: string | null;
}

/**
 * Finds the buildpack that builds the app.
 *
 * @throws NoAppDetectedError, BuildpackFetchError, and BuildpackCompileFailedError for one that is no buildpack
 */
export async function selectBuildpack(request: SelectionRequest, context: ExecutionContext): Promise<Selection> {
  const { choice } = request;
  switch (choice.kind) {
    case 'custom':
      return { buildpack: await openChosen(await fetchCustom(choice.url, request, context)), detectOutput: null };
    case 'named':
      return { buildpack: await openChosen(findInstalled(choice.key, request.installed)), detectOutput: null };
    case 'detect':
      return detect(request, context);
  }
}

async function fetchCustom(url: string, request: SelectionRequest, context: ExecutionContext): Promise<string> {
  const source = parseBuildpackUrl(url);
  const directory = join(request.fetchDirectory, source.name);
  await mkdir(request.fetchDirectory, { recursive: true });
  await rm(directory, { recursive: true, force: true });
  if (source.kind === 'git') {
    await cloneBuildpack(source, directory, context);
  } else {
    // The HTTP client takes half of the builder's start and memory, and is seldom wanted.
    const { downloadBuildpack } = await import('./zip-download.js');
    await downloadBuildpack(source, directory, context);
  }
  return directory;
}

function findInstalled(key: string, installed: string[]): string {
  const directory = installed.find((path) => basename(path) === key);
  if (directory !== undefined) return directory;
  throw new BuildpackCompileFailedError(new Error(`buildpack ${key} is not among the installed ones`));
}

async function openChosen(directory: string): Promise<Buildpack> {
  try {
    return await Buildpack.open(directory);
  } catch (error) {
    throw new BuildpackCompileFailedError(error);
  }
}

async function detect(request: SelectionRequest, context: ExecutionContext): Promise<Selection> {
  for (const directory of request.installed) {
    const selection = await ask(directory, request.appDirectory, context);
    if (selection) return selection;
  }
  throw new NoAppDetectedError();
}

/** A buildpack that cannot be asked counts as one that says no. */
async function ask(directory: string, app: string, context: ExecutionContext): Promise<Selection | undefined> {
  try {
    const buildpack = await Buildpack.open(directory);
    const { status, output } = await buildpack.query('detect', [app], context);
    return status === 0 ? { buildpack, detectOutput: output.trim() } : undefined;
  } catch (error) {
    context.signal.throwIfAborted();
    process.stdout.write(`Failed to run buildpack detection script: ${(error as Error).message}\n`);
    return undefined;
  }
}
