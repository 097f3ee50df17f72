import type { Response } from 'express';
import { ApiError } from '../errors.js';

/** A blob to send: its file, and its checksum where it is known. */
export interface SentBlob {
  path: string;
  contentType: string;
  sha1?: string | null;
}

/**
 * Sends a blob, whole or the range that is asked for; with `If-Range` and the checksum in `ETag`, a download that was
 * cut off goes on only with the same content.
 */
export function sendBlob(response: Response, { path, contentType, sha1 }: SentBlob): Promise<void> {
  response.type(contentType);
  if (sha1) response.set('ETag', `"${sha1}"`);
  return new Promise((resolve, reject) => {
    // The path is the store's own; what it has above the store may well begin with a dot.
    response.sendFile(path, { dotfiles: 'allow', cacheControl: false }, (error?: Error) => {
      // A client that goes away in the middle is not this side's fault, and there is nobody to tell.
      if (!error || response.headersSent) return resolve();
      const { status } = error as { status?: unknown };
      if (status === 416) {
        response.removeHeader('ETag');
        response.status(416).end();
        return resolve();
      }
      reject(status === 404 ? new ApiError('NotFound', '', { cause: error }) : error);
    });
  });
}
