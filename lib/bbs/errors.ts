import { type Error as ErrorMessage, ErrorType, TaskState } from './messages/models.js';

/**
 * What a call answers in its response's `error` (docs/protocol/bbs.md §3). A plain message: decisions return it, nobody
 * throws it. Peers compare the type only; the texts are shown to people.
 */
export type BbsError = ErrorMessage;

function error(type: ErrorType, message: string): BbsError {
  return { type, message };
}

export const unknownError = error(ErrorType.UnknownError, 'the request failed for an unknown reason');
/** The body is no message, or a value cannot be stored. */
export const invalidRequest = error(ErrorType.InvalidRequest, 'the request received is invalid');
export const resourceExists = error(ErrorType.ResourceExists, 'the requested resource already exists');
export const resourceNotFound = error(ErrorType.ResourceNotFound, 'the requested resource could not be found');
export const cannotBeClaimed = error(ErrorType.ActualLRPCannotBeClaimed, 'cannot claim actual LRP');
export const cannotBeStarted = error(ErrorType.ActualLRPCannotBeStarted, 'cannot start actual LRP');
export const cannotBeCrashed = error(ErrorType.ActualLRPCannotBeCrashed, 'cannot crash actual LRP');
export const cannotBeFailed = error(ErrorType.ActualLRPCannotBeFailed, 'cannot fail actual LRP');
export const cannotBeUnclaimed = error(ErrorType.ActualLRPCannotBeUnclaimed, 'cannot unclaim actual LRP');

/** @param findings of validation, at least one */
export function failedValidation(findings: readonly string[]): BbsError {
  return error(ErrorType.InvalidRequest, findings.join(', '));
}

/** @param cause told to the peer as it is */
export function unexpected(cause: string): BbsError {
  return error(ErrorType.UnknownError, cause);
}

/** The storage will not work again in this process, which answers and ends. */
export function unrecoverable(cause: string): BbsError {
  return error(ErrorType.Unrecoverable, `Unrecoverable Error: ${cause}`);
}

export function invalidStateTransition(from: TaskState, to: TaskState): BbsError {
  return error(ErrorType.InvalidStateTransition, `Cannot transition from ${stateName(from)} to ${stateName(to)}`);
}

export function runningOnDifferentCell(actualCellId: string, requestedCellId: string): BbsError {
  return error(ErrorType.RunningOnDifferentCell, `Running on cell ${actualCellId} not ${requestedCellId}`);
}

function stateName(state: TaskState): string {
  return Object.entries(TaskState).find(([, value]) => value === state)?.[0] ?? String(state);
}
