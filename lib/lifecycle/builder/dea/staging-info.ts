import { dump as toYaml } from 'js-yaml';
import type { BuildOutcome } from '../build.js';
import type { StagingError } from '../errors.js';
import { procfileReplaces, startCommand } from '../process-types.js';

/** `staging_info.yml` of an app that was built (docs/protocol/dea.md §18). */
export function stagingInfo(outcome: BuildOutcome, userCommand: string | null | undefined): string {
  const { buildpackPath, detectOutput, procfile, released } = outcome;
  return yaml({
    buildpack_path: buildpackPath,
    detected_buildpack: detectOutput,
    start_command: startCommand(userCommand, procfile, released),
    effective_procfile: procfileReplaces(procfile, released),
  });
}

/** `staging_info.yml` of a build that failed. */
export function stagingErrorInfo({ type, message }: StagingError): string {
  return yaml({ staging_error: { type, message } });
}

/** One line per text: launchers that read the file without a YAML parser rely on it. */
function yaml(document: Record<string, unknown>): string {
  return toYaml(document, { lineWidth: -1, noRefs: true });
}
