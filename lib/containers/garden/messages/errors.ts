import {
  EngineError,
  ExecutableNotFoundError,
  HandleInUseError,
  InvalidSpecError,
  ProcessIdInUseError,
  UnknownHandleError,
  UnknownProcessError,
  UnknownPropertyError,
  UnknownUserError,
} from '../../errors.js';
import { decodeBody, message, string } from '../json/decode.js';
import type { JsonValue } from '../json/encode.js';

/** The server cannot do it now; the text says why. */
export class ServiceUnavailableError extends EngineError {}

/** The server is broken for good: its clients must give it up. */
export class UnrecoverableError extends EngineError {}

export interface ErrorAnswer {
  status: number;
  body: JsonValue;
}

/** Of what is told of an error, characters. */
const longestMessage = 4_096;

const errorMessage = message('Error', { Type: string, Message: string, Handle: string, ProcessID: string });

/** How an error is told (docs/protocol/containers.md §2.4). */
export function errorAnswer(error: unknown): ErrorAnswer {
  if (error instanceof UnknownHandleError) {
    return { status: 404, body: errorBody('ContainerNotFoundError', error.message, { Handle: error.handle }) };
  }
  if (error instanceof UnknownProcessError) {
    return { status: 404, body: errorBody('ProcessNotFoundError', error.message, { ProcessID: error.processId }) };
  }
  return { status: 500, body: errorBody(typeOf(error), textOf(error)) };
}

/** In answers to bulk calls no error has a type, not even that a handle is unknown. */
export function bulkErrorBody(error: Error): JsonValue {
  return errorBody('', error.message);
}

/** @returns the error that an answer tells of; undefined when the text is no such answer */
export function errorFrom(text: Buffer): Error | undefined {
  try {
    const { Type, Message = '', Handle = '', ProcessID = '' } = decodeBody(text, errorMessage);
    return typedError(Type ?? '', Message, { handle: Handle, processId: ProcessID });
  } catch {
    return undefined;
  }
}

/** @returns the error of one handle in an answer to a bulk call */
export function bulkErrorFrom(body: NonNullable<ReturnType<typeof errorMessage>>): Error {
  return typedError(body.Type ?? '', body.Message ?? '', { handle: '', processId: '' });
}

/** The shape of `Err` in answers to bulk calls. */
export const bulkError = errorMessage;

function errorBody(type: string, text: string, names: { Handle?: string; ProcessID?: string } = {}): JsonValue {
  return {
    Type: type,
    Message: shortened(text),
    Handle: names.Handle ?? '',
    ProcessID: names.ProcessID ?? '',
    Binary: '',
  };
}

/** What a client sent does not come back to it in full length. */
function shortened(text: string): string {
  if (text.length <= longestMessage) return text;
  return `${text.slice(0, longestMessage)}... (${text.length} characters)`;
}

function typeOf(error: unknown): string {
  if (error instanceof ExecutableNotFoundError) return 'ExecutableNotFoundError';
  if (error instanceof ServiceUnavailableError) return 'ServiceUnavailableError';
  if (error instanceof UnrecoverableError) return 'UnrecoverableError';
  return '';
}

function textOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

function typedError(type: string, text: string, names: { handle: string; processId: string }): Error {
  switch (type) {
    case 'ContainerNotFoundError':
      return new UnknownHandleError(names.handle);
    case 'ProcessNotFoundError':
      return new UnknownProcessError(names.processId);
    case 'ExecutableNotFoundError':
      return new ExecutableNotFoundError(text);
    case 'ServiceUnavailableError':
      return new ServiceUnavailableError(text);
    case 'UnrecoverableError':
      return new UnrecoverableError(text);
    default:
      return errorByText(text);
  }
}

/** Errors without a type are told apart by the fixed texts of docs/protocol/containers.md §2.4. */
const errorTexts: [RegExp, (part: string, text: string) => Error][] = [
  [/^unknown handle: (.*)$/s, (handle) => new UnknownHandleError(handle)],
  [/^Handle '(.*)' already in use$/s, (handle) => new HandleInUseError(handle)],
  [/^process ID '(.*)' already (?:in use|exists)$/s, (id) => new ProcessIdInUseError(id)],
  [/^unable to find user (.*): no matching entries in passwd file$/s, (user) => new UnknownUserError(user)],
  [/^property does not exist: (.*)$/s, (property) => new UnknownPropertyError(property)],
  [/^(handle|rootfs|graceTimeMs|grace_time|env|bindMounts|limits)\b[^ ]*: /, (_, text) => new InvalidSpecError(text)],
  [/^(id|dir|rlimits|path, dir, args|tty|protocol|networks|ports)\b[^ ]*: /, (_, text) => new InvalidSpecError(text)],
  [/^(Cannot provide both Image\.URI|Running a process with bind mounts)/, (_, text) => new InvalidSpecError(text)],
];

function errorByText(text: string): Error {
  for (const [pattern, makeError] of errorTexts) {
    const [matched, part = ''] = pattern.exec(text) ?? [];
    if (matched !== undefined) return makeError(part, text);
  }
  return new Error(text);
}
