import type { App } from '../apps/app.js';
import { ApiError, type ApiErrorName } from '../errors.js';
import { type StagingReply, stagingReplySchema } from '../messages.js';

/** Reasons that an app's `staging_failed_reason` may have (docs/protocol/legacy-cc.md §5.2). */
export const stagingFailures = [
  'StagingError',
  'StagingTimeExpired',
  'NoAppDetectedError',
  'BuildpackCompileFailed',
  'BuildpackReleaseFailed',
  'InsufficientResources',
  'NoCompatibleCell',
] as const satisfies ApiErrorName[];
export type StagingFailure = (typeof stagingFailures)[number];

/** What a reply of the stager means. */
export type ReplyVerdict =
  | { kind: 'good'; reply: StagingReply }
  /** Another staging, a stop or a deletion came between: the reply changes nothing. */
  | { kind: 'superseded' }
  /** The app has been given up meanwhile: the reply changes nothing. */
  | { kind: 'already-failed' }
  /** The app becomes FAILED. */
  | { kind: 'failed'; reason: StagingFailure; description: string };

/**
 * Reads a reply by the rules of docs/protocol/legacy-cc.md §5.2, in their order. Pure.
 *
 * @param app the app as it is now; undefined when it is deleted
 * @param reply undefined when none came in time
 */
export function readStagingReply(app: App | undefined, taskId: string, reply: unknown): ReplyVerdict {
  if (!app || app.staging_task_id !== taskId) return { kind: 'superseded' };
  if (app.package_state === 'FAILED') return { kind: 'already-failed' };
  if (typeof reply === 'string') return failed('StagingError', failureText(reply));
  const parsed = stagingReplySchema.safeParse(reply);
  if (reply === undefined || reply === null) return failed('StagingError', failureText('no answer from the stager'));
  if (!parsed.success) return failed('StagingError', failureText('the answer of the stager is malformed'));
  const { error, error_info: errorInfo, task_log: taskLog } = parsed.data;
  if (errorInfo) return failed(stagingFailure(errorInfo.type), errorInfo.message);
  if (error) return failed('StagingError', failureText(error, taskLog ?? undefined));
  return { kind: 'good', reply: parsed.data };
}

/** The API's error for a failed staging. */
export function stagingApiError(reason: string, description: string | null): ApiError {
  const name = stagingFailure(reason);
  return new ApiError(name, description ?? 'staging failed');
}

/** The reason as apps may have it. */
export function stagingFailure(type: string): StagingFailure {
  return stagingFailures.find((failure) => failure === type) ?? 'StagingError';
}

function failed(reason: StagingFailure, description: string): ReplyVerdict {
  return { kind: 'failed', reason, description: withoutUserinfo(description) };
}

/** A stager's text for users: download URLs have credentials in them, and stagers quote URLs in their errors. */
export function withoutUserinfo(text: string): string {
  return text.replaceAll(/(\w:\/\/)[^/@\s]*@/g, '$1');
}

function failureText(error: string, taskLog?: string): string {
  return ['failed to stage application:', error, ...(taskLog ? [taskLog] : [])].join('\n');
}
