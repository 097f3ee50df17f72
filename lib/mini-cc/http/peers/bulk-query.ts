import { ApiError } from '../../errors.js';

/** Parameters of a request for a page of the bulk data. */
export type Query = Record<string, unknown>;

/** @throws ApiError BadQueryParameter unless it is a whole number above 0 */
export function readCount(query: Query, name: string): number {
  if (query[name] === undefined) throw new ApiError('BadQueryParameter', `${name} is missing`);
  const count = Number(query[name]);
  if (!Number.isSafeInteger(count) || count <= 0) {
    throw new ApiError('BadQueryParameter', `${name} must be a whole number above 0`);
  }
  return count;
}

/**
 * The sequence number in a token, which is JSON: `{"id":17}`; `{}` is the beginning.
 * @throws ApiError BadQueryParameter
 */
export function readToken(query: Query, name: string): number {
  const text = query[name];
  if (typeof text !== 'string') throw new ApiError('BadQueryParameter', `${name} is missing`);
  let token: unknown;
  try {
    token = JSON.parse(text);
  } catch {
    throw new ApiError('BadQueryParameter', `${name} is no JSON`);
  }
  if (typeof token !== 'object' || token === null || Array.isArray(token)) {
    throw new ApiError('BadQueryParameter', `${name} is no object`);
  }
  return readId((token as { id?: unknown }).id ?? 0, `${name}.id`);
}

/** @throws ApiError BadQueryParameter unless it is a whole number */
export function readId(value: unknown, name: string): number {
  const id = typeof value === 'string' && /^\d+$/.test(value) ? Number(value) : value;
  if (typeof id !== 'number' || !Number.isSafeInteger(id) || id < 0)
    throw new ApiError('BadQueryParameter', `${name} must be a whole number`);
  return id;
}
