import { createHash, timingSafeEqual } from 'node:crypto';
import type { RequestHandler } from 'express';
import { ApiError } from '../errors.js';

/** Lets only requests with the client API's bearer token pass. @throws ApiError InvalidAuthToken */
export function requireBearerToken(token: string): RequestHandler {
  return (request, _response, next) => {
    const [, given] = /^bearer (\S+)$/i.exec(request.headers.authorization ?? '') ?? [];
    if (given === undefined || !secretsEqual(given, token)) throw new ApiError('InvalidAuthToken');
    next();
  };
}

/** Lets only requests with the given user and password pass, as agents take them from URLs. */
export function requireBasicCredentials(user: string, password: string): RequestHandler {
  const expected = `${user}:${password}`;
  return (request, response, next) => {
    const [, encoded] = /^basic (\S+)$/i.exec(request.headers.authorization ?? '') ?? [];
    const given = encoded === undefined ? undefined : Buffer.from(encoded, 'base64').toString();
    if (given === undefined || !secretsEqual(given, expected)) {
      response.set('WWW-Authenticate', 'Basic realm="blobs"');
      throw new ApiError('NotAuthenticated');
    }
    next();
  };
}

/** Takes the same time wherever the first difference is, and however long the given secret is. */
function secretsEqual(given: string, expected: string): boolean {
  const digest = (text: string) => createHash('sha256').update(text).digest();
  return timingSafeEqual(digest(given), digest(expected));
}
