import { DownloadError } from '../../http/download.js';
import { UploadError } from '../../http/upload.js';
import { ScriptError } from '../containers.js';
import { InvalidEgressRuleError } from '../egress-rules.js';

/** Someone stopped the task (docs/protocol/dea.md §17.8). */
export class StagingStoppedError extends Error {
  constructor() {
    super('task stopped');
  }
}

/** The build took longer than `staging.max_staging_duration` (docs/protocol/dea.md §17.6). */
export class StagingTimeoutError extends Error {
  constructor() {
    super('Staging in container timed out');
  }
}

/** A process in the container went over the memory limit; on the wire no other text than that of the ended script. */
export class StagingOutOfMemoryError extends ScriptError {
  constructor(exitStatus: number) {
    super(exitStatus, '');
  }
}

/** Errors whose text goes to users as it is. */
const knownErrors = [DownloadError, UploadError, ScriptError, InvalidEgressRuleError, StagingTimeoutError];

/** The text that the Cloud Controller shows to its users (docs/protocol/dea.md §17.9). */
export function stagingErrorText(error: unknown): string {
  const text = error instanceof Error ? error.message : String(error);
  return knownErrors.some((known) => error instanceof known) ? text : `Error staging: ${text}`;
}
