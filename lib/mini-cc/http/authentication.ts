import type { RequestHandler } from 'express';
import { hasCredentials } from '../../http/basic-auth.js';
import { isSameSecret } from '../../http/secret.js';
import type { Credentials } from '../../http/url.js';
import { ApiError } from '../errors.js';

/** Lets only requests with the client API's bearer token pass. @throws ApiError InvalidAuthToken */
export function requireBearerToken(token: string): RequestHandler {
  return (request, _response, next) => {
    const [, given] = /^bearer (\S+)$/i.exec(request.headers.authorization ?? '') ?? [];
    if (given === undefined || !isSameSecret(given, token)) throw new ApiError('InvalidAuthToken');
    next();
  };
}

/**
 * Lets only requests with the given user and password pass, as other components have them.
 * @throws ApiError NotAuthenticated
 */
export function requireBasicCredentials(credentials: Credentials, realm: string): RequestHandler {
  return (request, response, next) => {
    if (!hasCredentials(request.headers.authorization, credentials)) {
      response.set('WWW-Authenticate', `Basic realm="${realm}"`);
      throw new ApiError('NotAuthenticated');
    }
    next();
  };
}
