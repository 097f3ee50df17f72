import { mkdir, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { writeFileAtomically } from '../../../files/atomic-write.js';
import { build } from '../build.js';
import { chooseBuildpack } from '../buildpack-choice.js';
import { startDeadline } from '../deadline.js';
import { BuildTimeoutError, StagingError } from '../errors.js';
import { type ExecutionContext, runInProcessGroup } from '../process-group.js';
import type { PluginConfig } from './plugin-config.js';
import { stagingErrorInfo, stagingInfo } from './staging-info.js';

export interface DeaStagingOptions {
  config: PluginConfig;
  /** Of the programs that the build runs. */
  environment: NodeJS.ProcessEnv;
  /** Longest time from choosing a buildpack to the end of its scripts. */
  timeoutMs: number;
  /** Ends the build. */
  signal: AbortSignal;
  /** Time between TERM and KILL for a script that is ended. @default 10000 */
  killGraceMs?: number;
}

/**
 * Stages an app as a DEA wants it (docs/protocol/dea.md §18): `app`, `logs` and `tmp` in `dest_dir`, and what was
 * found out in `staging_info.yml`.
 *
 * @throws StagingError, which `staging_info.yml` then holds, too
 * @throws BuildTimeoutError, BuildpackFetchError, InvalidProcfileError and others, without such a file
 */
export async function stageForDea(options: DeaStagingOptions): Promise<void> {
  const { config, environment, timeoutMs, signal, killGraceMs = 10_000 } = options;
  await checkDirectories(config);
  const context: ExecutionContext = { workingDirectory: config.dest_dir, environment, signal, killGraceMs };
  const appDirectory = join(config.dest_dir, 'app');
  await createLayout(config, appDirectory, context);
  const deadline = startDeadline(signal, timeoutMs, new BuildTimeoutError(timeoutMs));
  try {
    const outcome = await build(
      {
        choice: chooseBuildpack(config.environment),
        installed: config.buildpack_dirs,
        fetchDirectory: config.buildpacks_dir,
        appDirectory,
        cacheDirectory: config.cache_dir,
      },
      { ...context, signal: deadline.signal },
    );
    await write(config.staging_info_path, stagingInfo(outcome, config.environment.meta?.command));
  } catch (error) {
    if (error instanceof StagingError) await writeError(config.staging_info_path, error, appDirectory);
    throw error;
  } finally {
    deadline.clear();
  }
}

async function checkDirectories(config: PluginConfig): Promise<void> {
  for (const key of ['source_dir', 'dest_dir'] as const) {
    const status = await stat(config[key]).catch(() => undefined);
    if (!status?.isDirectory()) throw new Error(`${key}: ${config[key]} is not a directory`);
  }
}

async function createLayout(config: PluginConfig, appDirectory: string, context: ExecutionContext): Promise<void> {
  for (const name of ['app', 'logs', 'tmp']) await mkdir(join(config.dest_dir, name), { recursive: true });
  await must('cp', ['-a', '--', `${config.source_dir}/.`, appDirectory], context);
  // Packages may come from systems without permissions; the owner must be able to read, change and run everything.
  await must('chmod', ['-R', '0744', appDirectory], context);
}

async function must(program: string, args: string[], context: ExecutionContext): Promise<void> {
  const status = await runInProcessGroup(program, args, context);
  if (status !== 0) throw new Error(`cannot copy the app: ${program} ended with exit status ${status}`);
}

/** Leaves the error where the agent looks for it; a failure to do so must not hide the error itself. */
async function writeError(path: string, error: StagingError, appDirectory: string): Promise<void> {
  const content = stagingErrorInfo(error);
  try {
    await write(path, content).catch(async () => {
      // The buildpack may have filled the disk; what it was building is of no use any more.
      await rm(appDirectory, { recursive: true, force: true });
      await write(path, content);
    });
  } catch (fault) {
    process.stderr.write(`cannot write ${path}: ${(fault as Error).message}\n`);
  }
}

function write(path: string, content: string): Promise<void> {
  return writeFileAtomically(path, content, { mode: 0o644, durable: false });
}
