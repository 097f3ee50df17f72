import { ErrorType } from '../messages/models.js';

/** A call that failed in a way that the protocol has a type for (docs/protocol/bbs.md §3). */
export abstract class CallError extends Error {
  abstract readonly type: ErrorType;
}

/** The BBS understood the call and refuses it: the `error` of its response. */
export class ApplicationError extends CallError {
  override readonly name = 'ApplicationError';

  /** @param response the whole message: evacuations say `keepContainer` beside the error */
  constructor(
    readonly type: ErrorType,
    message: string,
    readonly response: object,
  ) {
    super(message);
  }
}

/** A router in front of the BBS answered in its place. */
export class RouterError extends CallError {
  override readonly name = 'RouterError';
  readonly type = ErrorType.RouterError;
}

/** An answer that no BBS gives: of another content type, or too large. */
export class InvalidResponse extends CallError {
  override readonly name: string = 'InvalidResponse';
  readonly type = ErrorType.InvalidResponse;

  constructor(
    readonly status: number,
    message = `Invalid Response with status code: ${status}`,
  ) {
    super(message);
  }
}

/** The BBS is too old to have the route; older ones may do. */
export class EndpointNotFound extends InvalidResponse {
  override readonly name = 'EndpointNotFound';

  constructor() {
    super(404);
  }
}

/** An answer of the right content type whose body is not the message. */
export class UndecodableResponse extends CallError {
  override readonly name = 'UndecodableResponse';
  readonly type = ErrorType.InvalidProtobufMessage;
}

/** The peer took longer than it may; whether the call took effect is not known. */
export class PeerTimeout extends CallError {
  override readonly name = 'PeerTimeout';
  readonly type = ErrorType.Timeout;
}

/** No connection, no handshake, or it broke off before the answer was whole. */
export class PeerUnreachable extends Error {
  override readonly name = 'PeerUnreachable';
}

/** An event stream that ended without its end: events may be missing. */
export class BrokenStream extends Error {
  override readonly name = 'BrokenStream';
}

/** An event of a name that no stream has. */
export class UnrecognizedEvent extends Error {
  override readonly name = 'UnrecognizedEvent';

  constructor(readonly eventName: string) {
    super(`unrecognized event type: ${JSON.stringify(eventName)}`);
  }
}

/** An event whose data is not its message. */
export class InvalidEventPayload extends Error {
  override readonly name = 'InvalidEventPayload';
}

/** The error for an answer that carries no message. */
export function refusalOf(status: number, routerError: string | undefined): CallError {
  if (routerError !== undefined) return new RouterError(routerError);
  return status === 404 ? new EndpointNotFound() : new InvalidResponse(status);
}
