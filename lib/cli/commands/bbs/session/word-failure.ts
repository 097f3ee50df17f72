import { ApplicationError, CallError } from '../../../../bbs/client/errors.js';
import { ErrorType } from '../../../../bbs/messages/models.js';
import { CliError } from '../../../cli-error.js';
import { nameOf } from './wording.js';

/** Exit statuses of cfdot (docs/protocol/bbs.md §20). */
export const exitStatus = { badArguments: 3, refused: 4, failed: 5, unknownFlag: 255 } as const;

/** A word that did not do what it is for; its text is printed as it is. */
export class WordFailure extends CliError {
  constructor(
    message: string,
    readonly status: number,
    options?: ErrorOptions,
  ) {
    super(`Error: ${message}`, options);
  }
}

/** Arguments or connection flags that cannot be used; the word's usage is shown with it. */
export class BadArguments extends CliError {}

/** What a word tells of an error of the client, in cfdot's form. */
export function failureOf(error: unknown): WordFailure {
  if (error instanceof WordFailure) return error;
  const message = error instanceof Error ? error.message : String(error);
  if (error instanceof CallError)
    return new WordFailure(bbsError(error.type, message), exitStatus.refused, { cause: error });
  return new WordFailure(message, exitStatus.failed, { cause: error });
}

/** Of a subscription: whatever the reason, cfdot calls it an error of the BBS. */
export function subscriptionFailureOf(error: unknown): WordFailure {
  if (error instanceof ApplicationError) return failureOf(error);
  const message = error instanceof Error ? error.message : String(error);
  return new WordFailure(bbsError(ErrorType.UnknownError, message), exitStatus.refused, { cause: error });
}

function bbsError(type: ErrorType, message: string): string {
  return `BBS error\nType ${type}: ${nameOf(ErrorType, type)}\nMessage: ${message}`;
}
