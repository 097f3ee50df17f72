import { type RequestHandler, text } from 'express';
import { ApiError } from '../errors.js';

/** Takes the body of a component's request, whatever type the component calls it. */
export function takeText(limit: string): RequestHandler {
  return text({ type: () => true, limit });
}

/** What `takeText` took, as JSON. @throws ApiError MessageParseError */
export function parseJson(body: unknown): unknown {
  try {
    return JSON.parse(typeof body === 'string' ? body : '');
  } catch (cause) {
    throw new ApiError('MessageParseError', (cause as Error).message, { cause });
  }
}
