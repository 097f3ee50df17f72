import type { IncomingHttpHeaders } from 'node:http';

/** What a request's conditions make of it. */
export type Precondition = 'serve' | 'not-modified' | 'failed';

/**
 * Decides `If-Match`, `If-Unmodified-Since`, `If-None-Match` and `If-Modified-Since` for a file that has a time of
 * change but no entity tag (docs/protocol/dea.md §20.4, RFC 7232 §6).
 *
 * @param modifiedSeconds Unix seconds, whole
 */
export function checkPreconditions(
  method: string,
  headers: IncomingHttpHeaders,
  modifiedSeconds: number,
): Precondition {
  const isRead = method === 'GET' || method === 'HEAD';
  if (headers['if-match']) {
    if (!listsAny(headers['if-match'])) return 'failed';
  } else {
    const since = httpDateSeconds(headers['if-unmodified-since']);
    if (since !== undefined && modifiedSeconds > since) return 'failed';
  }
  if (headers['if-none-match']) {
    if (!listsAny(headers['if-none-match'])) return 'serve';
    return isRead ? 'not-modified' : 'failed';
  }
  const since = isRead ? httpDateSeconds(headers['if-modified-since']) : undefined;
  return since !== undefined && modifiedSeconds <= since ? 'not-modified' : 'serve';
}

/** Whether a `Range` counts: not when `If-Range` names another version than the present one. */
export function isRangeWanted(method: string, headers: IncomingHttpHeaders, modifiedSeconds: number): boolean {
  const condition = headers['if-range'];
  if (!condition || (method !== 'GET' && method !== 'HEAD')) return true;
  return typeof condition === 'string' && httpDateSeconds(condition) === modifiedSeconds;
}

/** A tag never fits a file without one; only `*` does. */
function listsAny(tags: string): boolean {
  return tags.split(',').some((tag) => tag.trim() === '*');
}

function httpDateSeconds(text: string | undefined): number | undefined {
  if (text === undefined || !/^[A-Z][a-z]+,? /.test(text)) return undefined;
  const milliseconds = Date.parse(text);
  return Number.isNaN(milliseconds) ? undefined : Math.floor(milliseconds / 1000);
}
