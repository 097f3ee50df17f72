import { rm } from 'node:fs/promises';
import { type BuildpackUrl, withoutCredentials } from './buildpack-url.js';
import { BuildpackFetchError } from './errors.js';
import { OutputCollector } from './output-collector.js';
import { type ExecutionContext, runInProcessGroup } from './process-group.js';

const errorLimitBytes = 64 * 1024;

/** Failures that fetching the whole history would only repeat. Every other one may come from asking for a part of it. */
const hopelessFailure =
  /could not resolve host|connection refused|failed to connect|authentication failed|could not read (username|password)|permission denied|repository .* (not found|does not exist)|does not appear to be a git repository/i;

/**
 * Clones a buildpack into `directory`, with its submodules, at the URL's branch, tag or commit. The latest state is
 * enough; servers that cannot give parts of a history, and commit ids, take all of it (docs/protocol/dea.md §18).
 *
 * @throws BuildpackFetchError
 */
export async function cloneBuildpack(
  source: BuildpackUrl,
  directory: string,
  context: ExecutionContext,
): Promise<void> {
  const { url, ref } = source;
  const shallow = await git(
    ['clone', '--depth', '1', '--recursive', ...(ref === undefined ? [] : ['--branch', ref]), '--', url, directory],
    context,
  );
  if (shallow.status === 0) return;
  if (hopelessFailure.test(shallow.errors)) throw cloneError(url);
  process.stderr.write(
    `Cloning the whole history, as its latest state alone cannot be had: ${reason(shallow.errors)}\n`,
  );
  await rm(directory, { recursive: true, force: true });
  const full = await git(['clone', '--recursive', '--', url, directory], context);
  if (full.status !== 0) throw cloneError(url);
  if (ref === undefined) return;
  const checkout = await git(['-C', directory, 'checkout', ref, '--'], context);
  const submodules = ['-C', directory, 'submodule', 'update', '--init', '--recursive'];
  if (checkout.status !== 0 || (await git(submodules, context)).status !== 0) {
    throw new BuildpackFetchError(`Failed to check out ${ref} of the git repository at ${withoutCredentials(url)}`);
  }
}

/** Runs git; what it says is shown with credentials taken out. */
async function git(args: string[], context: ExecutionContext): Promise<{ status: number; errors: string }> {
  const stderr = new OutputCollector(errorLimitBytes);
  const status = await runInProcessGroup(
    'git',
    ['-c', 'advice.detachedHead=false', ...args],
    {
      ...context,
      environment: {
        ...context.environment,
        // Nobody is there to answer a question.
        GIT_TERMINAL_PROMPT: '0',
        // The reasons for a failure are read here.
        LC_ALL: 'C',
      },
    },
    { stdout: stderr.receive, stderr: stderr.receive },
  );
  const errors = withoutCredentials(stderr.text);
  process.stderr.write(errors);
  return { status, errors };
}

function reason(errors: string): string {
  const lines = errors.trim().split('\n');
  return lines.findLast((line) => /^(fatal|error|warning):/.test(line)) ?? lines.at(-1) ?? '';
}

function cloneError(url: string): BuildpackFetchError {
  return new BuildpackFetchError(`Failed to clone git repository at ${withoutCredentials(url)}`);
}
