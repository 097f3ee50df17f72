import { dump as toYaml } from 'js-yaml';
import type { ContainerPaths } from '../containers.js';
import { stagingExports } from '../instances/environment.js';
import type { StagingMessage } from '../messages.js';
import { shellWord } from '../shell.js';

/** The log that users watch, in the container (docs/protocol/dea.md §17.3). */
export const stagingLogPath = '/tmp/staged/logs/staging_task.log';
export const stagingInfoPath = '/tmp/staged/staging_info.yml';

/** A build that prints more is let go on; the rest is not kept in the log. */
export const longestBuildLogBytes = 16 * 1024 * 1024;
const cutOffLine = `-----> The log is cut off here: it has ${longestBuildLogBytes / 1024 / 1024} MB, or the disk is full`;

/** `plugin_config`: what the builder is told (docs/protocol/dea.md §17.6). */
export function pluginConfig(
  paths: ContainerPaths,
  properties: StagingMessage['properties'],
  buildpackDirectories: string[],
): string {
  return toYaml({
    source_dir: paths.inside('/tmp/unstaged'),
    dest_dir: paths.inside('/tmp/staged'),
    cache_dir: paths.inside('/tmp/cache'),
    environment: properties,
    staging_info_path: paths.inside(stagingInfoPath),
    buildpack_dirs: buildpackDirectories,
    buildpacks_dir: paths.inside('/tmp/buildpacks'),
  });
}

/** Says what was downloaded, and unpacks it (docs/protocol/dea.md §17.4, steps 6 and 7). */
export function unpackScript(request: { title: string; archive: string; log: string; unpack: string }): string {
  const { title, archive, log, unpack } = request;
  const size = `$(du -h ${shellWord(archive)} | cut -f1)`;
  return `echo "-----> Downloaded ${title} (${size})" | tee -a ${shellWord(log)}; ${unpack}`;
}

/** Whom the build is for, as its variables tell it (docs/protocol/dea.md §17.6). */
export interface BuildEnvironment {
  message: StagingMessage;
  memoryMb: number;
  timeoutSeconds: number;
}

/** `export` lines of the build. */
export function buildExports({ message, memoryMb, timeoutSeconds }: BuildEnvironment): string {
  const { start_message: startMessage, properties } = message;
  return stagingExports({
    vcapApplication: (startMessage?.vcap_application ?? {}) as Record<string, unknown>,
    services: properties.services,
    memoryMb,
    stagingTimeoutSeconds: timeoutSeconds,
    entries: properties.environment,
  });
}

/**
 * Runs the builder and writes what it prints to the log and to standard output, as it comes and up to a limit. Ends
 * when the builder has ended, with its status: whatever escaped from the builder's process groups and holds its output
 * open is killed, but for the shell that began the pipe and its two halves, which may not have closed their ends of it when
 * a quick builder has ended. The user's variables reach the builder alone, not what writes the log.
 */
export function buildScript(request: { exports: string; builder: string; config: string; log: string }): string {
  const { exports, builder, config, log } = request;
  return `set -o pipefail
{
${exports}
${shellWord(builder)} ${shellWord(config)} 2>&1
__status=$?
while :; do
  __found=
  for __file in /proc/[0-9]*/fd/[1-9]*; do
    __pid=\${__file#/proc/}; __pid=\${__pid%%/*}
    [[ $__file -ef /proc/self/fd/1 && $__pid != $$ ]] && IFS= read -r __stat < "/proc/$__pid/stat" || continue
    __parent=\${__stat##*) ? }; __parent=\${__parent%% *}
    if [[ $__parent != $$ ]]; then kill -KILL "$__pid" && __found=1; fi
  done 2> /dev/null
  [[ $__found ]] || break
done
exit $__status
} | {
if ! ( ulimit -c 0; ulimit -f ${longestBuildLogBytes / 1024}; exec tee -a ${shellWord(log)} ) 2> /dev/null; then
  echo ${shellWord(cutOffLine)} | tee -a ${shellWord(log)}
  cat > /dev/null
fi
} 2> /dev/null
`;
}
