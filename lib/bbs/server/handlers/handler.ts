import type { CallName, RequestOf, ResponseOf } from '../../routes.js';

/** Fields of the response, or all of it encoded. */
export type Answer<Response extends object> = Partial<Response> | Buffer;

/** Answers one route; reads do so at once. @param traceId of the request's header, or empty */
export type Handler<Request extends object, Response extends object> = (
  request: Request,
  traceId: string,
) => Answer<Response> | Promise<Answer<Response>>;

export type HandlerOf<Name extends CallName> = Handler<RequestOf<Name>, ResponseOf<Name>>;

export type HandlersOf<Names extends CallName> = { readonly [Name in Names]: HandlerOf<Name> };

/** A success that says nothing, or the error. */
export function answered<E>(error: E | undefined): { error?: E } {
  return error === undefined ? {} : { error };
}
